"""What a worker does next: pure, from one sight. Joins, computes, claims, opens, leaves."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from eth_hash.auto import keccak

from protocol.role.actions import (
    Action,
    Answer,
    Send,
    answer_or_seal,
    move_on,
    open_due,
    together,
)
from protocol.role.sight import JobSight, Sight
from protocol.rules.history import RoundHistory
from protocol.rules.records import Ending, JobId, Phase, Slot, Stage
from protocol.rules.sealing import words
from protocol.rules.seats import task_owners
from protocol.rules.turns import claims_from
from worker.capacity import Room
from worker.pace import Pace, Question

FROZEN = (Phase.SEED, Phase.COMMIT, Phase.DRAW)
"""Phases in which the worker roster does not change."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Inside these the owner lets its worker act."""

    slots: int | None = None  # at most so many in each job; None: as many as it can serve
    smallest_reward: int = 1
    claims: bool = True  # take over tasks that other slots leave unserved


def decide(sight: Sight, limits: Limits, rooms: Mapping[JobId, Room], pace: Pace) -> list[Action]:
    """Everything worth doing now, most urgent first.

    `rooms` is what was found before joining, `pace` what the consumers can do and owe.
    """
    actions: list[Action] = []
    for js in sight.jobs.values():
        actions += open_due(sight, js)
        actions += move_on(sight, js)
        if js.fit:
            actions += _work(sight, js)
            actions += _join(sight, js, limits, rooms)
    actions += _claims(sight, limits, pace, actions)
    actions += _leave(sight)
    return actions


def may_join(sight: Sight, js: JobSight, limits: Limits) -> bool:
    """Whether a job is one to join, if there is room for it."""
    over = js.round.phase == Phase.ENDED or js.job.stopped
    if sight.leaving or over or not js.fit or js.past.terms.reward < limits.smallest_reward:
        return False
    # Who lost money here stays out until a person has looked; who left may come back.
    present = any(owner == sight.provider for _, owner in js.past.roster)
    return not present and sight.provider not in js.past.slashed


def _join(
    sight: Sight, js: JobSight, limits: Limits, rooms: Mapping[JobId, Room]
) -> Iterator[Action]:
    found = rooms.get(js.past.job, Room(0))
    if found.slots and js.round.phase not in FROZEN and may_join(sight, js, limits):
        args = (js.past.job, sight.provider, found.slots)
        yield Send(f"{js.past.job}/join/{js.past.members[sight.provider]}", "join", args)


def _work(sight: Sight, js: JobSight) -> Iterator[Action]:
    record = js.open_round
    if record is None or js.round.phase != Phase.COMMIT:
        return
    seals: list[Send] = []
    unanswered = set()
    for task, slot in own_tasks(sight, js, record):
        action = answer_or_seal(sight, js, Stage.WORK, task, 0, slot)
        if isinstance(action, Send):
            seals.append(action)
        elif action is not None:
            unanswered.add(slot)
            yield action
    # A slot's seals wait for each other, but not for long: claims begin, and blocks may be full.
    patience = js.round.deadline - 3 * js.past.terms.windows.commit // 4
    for batch in together(seals):
        slot = batch.args[2]
        if slot not in unanswered or sight.now >= patience:
            yield batch


def own_tasks(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[tuple[int, Slot]]:
    """The tasks of an open Commit that are this worker's to seal, each with its slot."""
    owners = task_owners(js.round.seed, js.past.terms.tasks, record.workers)
    for task, owner in enumerate(owners):
        # A claimed task is the claimant's, whoever owned it.
        slot, provider = record.claims.get(task, owner)
        if provider == sight.provider and _is_read(js, record, task):
            yield task, slot


def _claims(sight: Sight, limits: Limits, pace: Pace, actions: Iterable[Action]) -> list[Action]:
    """Take over as many tasks as are computed in time, besides all that is to do already."""
    found: list[Action] = []
    # A claim is acted on once the block that holds it is read.
    begin = sight.now + (sight.now - 1 - sight.read)
    debts = pace.debts(_to_do(sight, actions))
    for js in sight.jobs.values():
        for claim in claimable(sight, js, limits):
            more = pace.debt(js.past.job, js.round.deadline)
            if not pace.holds([*debts, more], begin):
                break
            debts.append(more)
            found.append(claim)
    return found


def _to_do(sight: Sight, actions: Iterable[Action]) -> dict[Question, int]:
    """What this worker has to compute in all its jobs, and by which block."""
    due = {
        (a.job, a.round, a.question): sight.jobs[a.job].round.deadline
        for a in actions
        if isinstance(a, Answer)
    }
    for js in sight.jobs.values():
        record = js.open_round
        if record is None or js.round.phase != Phase.COMMIT:
            continue
        if all(owner != sight.provider for _, owner in record.workers):
            continue
        # Whose a claim is that was made a moment ago is not known yet: it may be one's own.
        for task in range(js.past.terms.tasks):
            if not _is_read(js, record, task) and not _is_sealed(js, task):
                due[js.past.job, record.number, task] = js.round.deadline
    return due


def claimable(sight: Sight, js: JobSight, limits: Limits) -> Iterator[Send]:
    """The claims open to this worker: an unserved task for each slot that owes no other one."""
    record, terms = js.open_round, js.past.terms
    willing = js.fit and limits.claims and not sight.leaving
    if record is None or js.round.phase != Phase.COMMIT or not willing:
        return
    # In the last quarter a few blocks too many between claim and seal cost half the pay.
    last = js.round.deadline - terms.windows.commit // 4
    if not claims_from(terms, js.round.deadline) <= sight.now < last:
        return
    taken = js.round.sealed_tasks | js.round.claimed
    own = {task for task, _ in own_tasks(sight, js, record)}
    unserved = [t for t in range(terms.tasks) if not taken >> t & 1 and t not in own]
    busy = {slot for task, (slot, _) in record.claims.items() if not _is_sealed(js, task)}
    mine = [slot for slot, owner in record.workers if owner == sight.provider and slot not in busy]
    unserved.sort(key=lambda task: keccak(words(js.round.seed, sight.operator, task)))
    for slot, task in zip(mine, unserved, strict=False):
        key = f"{js.past.job}/{record.number}/claim/{task}"
        yield Send(key, "claim", (js.past.job, record.number, task, slot))


def _is_read(js: JobSight, record: RoundHistory, task: int) -> bool:
    """Whether a task's claim, if there is one, is known by its slot."""
    return not js.round.claimed >> task & 1 or task in record.claims


def _is_sealed(js: JobSight, task: int) -> bool:
    return bool(js.round.sealed_tasks >> task & 1)


def _leave(sight: Sight) -> Iterator[Action]:
    """Take the bonds of finished jobs home; who leaves takes all of them, where they are free."""
    for past in sight.market.jobs.values():
        js = sight.jobs.get(past.job)
        frozen = js is None or js.round.phase in FROZEN
        if past.ending == Ending.NONE and (frozen or not sight.leaving):
            continue
        for slot, owner in past.roster:
            if owner == sight.provider:
                yield Send(f"{past.job}/leave/{slot}", "leave", (past.job, slot))
