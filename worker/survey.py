"""Looking at jobs before they are joined: what the consumers can do, what blocks and bonds allow.

The observing half; `capacity.py` decides. Nothing in memory matters but when something failed: it
is tried again after a while.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from protocol.chain.client import Chain
from protocol.fleet.computation import Computation, Work
from protocol.fleet.trials import Facts, Trials
from protocol.role.job_files import JobFiles
from protocol.role.sight import Sight
from protocol.rules.history import JobHistory
from protocol.rules.records import Address, Ending, JobId
from protocol.training.footprint import task_bytes
from worker.capacity import Place, Room, room
from worker.claim import Limits, may_join

log = structlog.get_logger()

SAMPLE = 20
"""Blocks over which their distance is measured."""
RETRY_SECONDS = 300.0
"""How long a job stays refused for trials that went wrong."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is the same for every job: provider, free bond, seconds between blocks, consumers."""

    provider: Address
    free_bond: int
    block_seconds: float | None
    consumers: tuple[Facts, ...]


class Survey:
    """What this worker could serve of each job that it has not joined."""

    def __init__(
        self,
        chain: Chain,
        files: JobFiles,
        trials: Trials,
        market: str,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.chain = chain
        self.files = files
        self.trials = trials
        self.market = market
        self.limits = limits
        self.rooms: dict[JobId, Room] = {}
        self._clock = clock
        self._since: dict[JobId, float] = {}  # when a refusal began

    def look(self, sight: Sight) -> None:
        """Have the consumers try what they have not, and weigh every job that may be joined."""
        candidates = [js for js in sight.jobs.values() if may_join(sight, js, self.limits)]
        self.rooms = {
            number: found
            for number, found in self.rooms.items()
            if any(js.past.job == number for js in candidates)
        }
        if candidates:
            here = self.conditions(sight.provider, sight.operator)
            for js in candidates:
                self._weigh(js.past, here)
        for market, job in self.trials.jobs():
            past = sight.market.jobs.get(job)
            if market == self.market and (past is None or past.ending != Ending.NONE):
                self.trials.drop(market, job)

    def conditions(self, provider: Address, operator: Address) -> Conditions:
        """Consumers, blocks and bond as they are now."""
        free_bond = self._free_bond(provider, operator)
        return Conditions(
            provider, free_bond, block_seconds(self.chain), tuple(self.trials.consumers())
        )

    def _weigh(self, past: JobHistory, here: Conditions) -> None:
        job = past.job
        self._ask(past, here)
        found = self.room_of(past, here)
        if found != self.rooms.get(job):
            log.info("job weighed", job=job, slots=found.slots, reason=found.reason or "it fits")
            self.rooms[job] = found
            self._since[job] = self._clock()
        elif not found.slots and self._clock() - self._since[job] > RETRY_SECONDS:
            self.trials.drop(self.market, job)
            self._since[job] = self._clock()

    def _ask(self, past: JobHistory, here: Conditions) -> None:
        floor = task_bytes(self.files.manifest(past))
        tried = {trial.consumer for trial in self.trials.of_job(self.market, past.job)}
        able = [c.name for c in here.consumers if c.free >= floor and c.name not in tried]
        if able:
            self.trials.ask(first_task(self.market, past), able)

    def room_of(self, past: JobHistory, here: Conditions) -> Room:
        """The room for one job under these conditions."""
        place = Place(
            terms=past.terms,
            others=sum(owner != here.provider for _, owner in past.roster),
            floor=task_bytes(self.files.manifest(past)),
            free_bond=here.free_bond,
        )
        trials = self.trials.of_job(self.market, past.job)
        return room(place, list(here.consumers), trials, here.block_seconds, self.limits.slots)

    def _free_bond(self, provider: Address, operator: Address) -> int:
        """What the operator may lock now: of the owner's free bond, within its limit."""
        vault = self.chain.vault
        limit, locked = self.chain.call(vault, "operatorOf", provider, operator)
        free: int = self.chain.call(vault, "freeOf", provider)
        allowed: int = limit - locked
        return max(min(free, allowed), 0)


def first_task(market: str, past: JobHistory) -> Computation:
    """The task that consumers try: the first of the first round, from the genesis."""
    terms = past.terms
    return Computation(
        market=market,
        job=past.job,
        terms=Work(
            terms.manifest, terms.genesis_root, terms.genesis_cid, terms.rounds, terms.tasks
        ),
        round=0,
        question=0,
        state_root=terms.genesis_root,
        state_cid=terms.genesis_cid,
    )


def block_seconds(chain: Chain) -> float | None:
    """Seconds between the last blocks; None where there are too few, or all have one time."""
    head, made = chain.newest()
    first = max(head - SAMPLE, 0)
    began = chain.made_at(first)
    if began is None or made <= began:
        return None
    return (made - began) / (head - first)
