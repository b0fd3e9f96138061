"""What a worker does next: pure, from one sight. Joins, answers its tasks, opens, leaves."""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.role.actions import Action, Send, answer_or_seal, open_due
from protocol.role.sight import JobSight, Sight
from protocol.rules.records import Ending, Phase, Stage
from protocol.rules.seats import task_owners

FROZEN = (Phase.SEED, Phase.COMMIT, Phase.DRAW)
"""Phases in which the worker roster does not change."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Inside these the owner lets its worker act."""

    slots: int = 1
    smallest_reward: int = 1


def decide(sight: Sight, limits: Limits) -> list[Action]:
    """Everything worth doing now, most urgent first."""
    actions: list[Action] = []
    for js in sight.jobs.values():
        actions += open_due(sight, js)
        if js.fit:
            actions += _join(sight, js, limits)
            actions += _work(sight, js)
    actions += _leave(sight)
    return actions


def _join(sight: Sight, js: JobSight, limits: Limits) -> Iterator[Action]:
    terms = js.past.terms
    closed = js.round.phase in FROZEN or js.round.phase == Phase.ENDED or js.job.stopped
    if closed or terms.reward < limits.smallest_reward:
        return
    # One joining per job: a slot that was slashed stays out until a person has looked.
    if sight.provider not in js.past.members:
        args = (js.past.job, sight.provider, limits.slots)
        yield Send(f"{js.past.job}/join", "join", args)


def _work(sight: Sight, js: JobSight) -> Iterator[Action]:
    record = js.open_round
    if record is None or js.round.phase != Phase.COMMIT:
        return
    owners = task_owners(js.round.seed, js.past.terms.tasks, record.workers)
    for task, (slot, provider) in enumerate(owners):
        if provider == sight.provider:
            action = answer_or_seal(sight, js, Stage.WORK, task, 0, slot)
            if action is not None:
                yield action


def _leave(sight: Sight) -> Iterator[Action]:
    """Take the bonds of finished jobs home."""
    for past in sight.market.jobs.values():
        if past.ending == Ending.NONE:
            continue
        for slot, owner in past.roster:
            if owner == sight.provider:
                yield Send(f"{past.job}/leave/{slot}", "leave", (past.job, slot))
