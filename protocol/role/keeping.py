"""Pins that follow jobs: what is kept while a job runs, after it, and no longer.

A role keeps what it has published for a round as long as its history remembers the round, since a
challenge or a verdict may ask for it until then, and a state as long as rounds begin with it; then
it lets them go, so that a job of years takes no more room than one of days. The last states of a
job stay. The coordinator sees to it that its store has the newest final states, whoever computed
them; who audits derives the earlier ones from the genesis.
"""

import time
from collections.abc import Callable

import structlog

from protocol.role.job_files import JobFiles
from protocol.role.pins import Pins
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory, MarketHistory
from protocol.rules.records import Ending, JobId
from protocol.storage.cid import Cid
from protocol.storage.errors import StorageError, StoreUnavailable

log = structlog.get_logger()

PAUSE = 60.0
"""Seconds until a store that failed is asked again."""
MOST_SECONDS = 60.0
"""After that long keeping states makes room for other duties, and goes on after a pause."""


class Keeper:
    """Keeps and lets go on behalf of one role."""

    def __init__(
        self, files: JobFiles, pins: Pins, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.files = files
        self.pins = pins
        self.clock = clock
        self._again = 0.0
        self._kept: dict[JobId, set[Cid]] = {}  # states that are known to be pinned
        self._forgotten: dict[JobId, int] = {}  # rounds whose results have been let go
        self._over: set[JobId] = set()

    def let_go(self, market: MarketHistory) -> list[JobId]:
        """Release what no round needs, and all results of jobs that are over.

        Returns the jobs that are over since last time. A store that does not answer is asked again
        after a pause: nothing waits for it.
        """
        ended = {job for job, past in market.jobs.items() if past.ending != Ending.NONE}
        fresh = sorted(ended - self._over)
        for job in fresh:
            self.files.close(job)
        self._over |= ended
        if self.clock() < self._again:
            return fresh
        for job in sorted(self.pins.jobs_with_results() & market.jobs.keys()):
            past = market.jobs[job]
            try:
                if job in ended:
                    self._release_job(past)
                elif past.forgotten > self._forgotten.get(job, 0):
                    self._release_rounds(past)
            except StorageError as error:
                log.warning("results not released", job=job, error=str(error))
                self._again = self.clock() + PAUSE
        return fresh

    def _release_job(self, past: JobHistory) -> None:
        self.pins.stay(past.job, final_states(past))
        gone = self.pins.release(past.job, self.files.store)
        self._kept.pop(past.job, None)
        log.info("results released", job=past.job, files=gone)

    def _release_rounds(self, past: JobHistory) -> None:
        current, store = current_states(past), self.files.store
        gone = self.pins.release_rounds(past.job, past.forgotten, current, store)
        self._forgotten[past.job] = past.forgotten
        log.info("results released", job=past.job, rounds_below=past.forgotten, files=gone)

    def keep_states(self, past: JobHistory) -> None:
        """Pin the newest final states of a job, fetching what the store lacks, until forgotten."""
        wanted = current_states(past)
        kept = self._kept.setdefault(past.job, set())
        kept &= set(wanted)
        missing = [cid for cid in wanted if cid not in kept]
        if not missing or self.clock() < self._again or self.pins.is_forgotten(past.job):
            return
        until = self.clock() + MOST_SECONDS
        kept |= {cid for cid in missing if self._has_kept(past, cid, until)}

    def _has_kept(self, past: JobHistory, cid: Cid, until: float) -> bool:
        try:
            self._keep(past, cid, until)
        except GradproofError as error:
            log.warning("state not kept", job=past.job, cid=str(cid), error=str(error))
            self._again = self.clock() + PAUSE
            return False
        return True

    def _keep(self, past: JobHistory, cid: Cid, until: float) -> None:
        index, shards = self.files.state_files(past, cid.digest, timeout=self._left(until))
        newest = past.forgotten + len(past.rounds) - 1
        self.pins.hold(past.job, cid, [shard.cid for shard in shards], round_=newest)
        for shard in shards:
            if not self._pin(shard.cid):
                left = self._left(until)
                with self.files.lend(shard.cid, shard.length, timeout=left) as path:
                    self.files.store.publish(path)
        if not self._pin(cid):
            self.files.store.publish_bytes(index)

    def _left(self, until: float) -> float:
        return max(0.0, until - self.clock())

    def _pin(self, cid: Cid) -> bool:
        """Pin what is there already; a daemon is not sent searching for the rest."""
        store = self.files.store
        if not store.has(cid):
            return False
        try:
            store.pin(cid)
        except StoreUnavailable:
            return False
        return True


def final_states(past: JobHistory, first: int = 0) -> list[Cid]:
    """The states that rounds of this job ended in, oldest first, from the one of number `first`."""
    open_ = past.open_round
    # An update is accepted a moment before its round is final.
    last = len(past.states) - (open_ is not None and open_.update is not None)
    return [Cid.raw(digest) for digest in past.states[first:last]]


def current_states(past: JobHistory) -> list[Cid]:
    """The final states that rounds in mind began with, or the next one will, oldest first."""
    needed = {past.state_cid, *(round_.state_cid for round_ in past.rounds)}
    first = max(len(past.states) - len(past.rounds) - 1, 0)
    return [cid for cid in final_states(past, first) if cid.digest in needed]
