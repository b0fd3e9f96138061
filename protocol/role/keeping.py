"""Pins that follow jobs: what is kept while a job runs, after it, and no longer.

A role keeps what it has published for a job until the job is over, since a challenge or a verdict
may ask for it until then, and lets it go afterwards; finalised states stay. The coordinator sees
to it that its store has every finalised state, whoever computed it.
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
        self._seen: dict[JobId, tuple[int, bytes]] = {}  # how many states, and the last of them
        self._late: dict[JobId, list[Cid]] = {}  # those of them that are not kept yet
        self._over: set[JobId] = set()

    def let_go(self, market: MarketHistory) -> list[JobId]:
        """Release what was kept for jobs that are over; return those that are so since last time.

        A store that does not answer is asked again after a pause: nothing waits for it.
        """
        ended = {job for job, past in market.jobs.items() if past.ending != Ending.NONE}
        fresh = sorted(ended - self._over)
        for job in fresh:
            self.files.close(job)
        self._over |= ended
        if self.clock() < self._again:
            return fresh
        for job in sorted(self.pins.jobs_with_results() & ended):
            try:
                self.pins.stay(job, final_states(market.jobs[job]))
                gone = self.pins.release(job, self.files.store)
                log.info("results released", job=job, files=gone)
            except StorageError as error:
                log.warning("results not released", job=job, error=str(error))
                self._again = self.clock() + PAUSE
        return fresh

    def keep_states(self, past: JobHistory) -> None:
        """Pin every finalised state of a job, fetching what the store lacks, until forgotten."""
        seen, newest = self._seen.get(past.job, (0, b""))
        late = self._late.get(past.job, [])
        if past.states[seen - 1 : seen] != [newest]:
            seen, late = 0, []  # nothing yet, or a reorganisation took some: all are looked at
        fresh = final_states(past, seen)
        if not (late or fresh) or self.clock() < self._again or self.pins.is_forgotten(past.job):
            return
        until = self.clock() + MOST_SECONDS
        self._late[past.job] = [
            cid for cid in (*late, *fresh) if not self._has_kept(past, cid, until)
        ]
        if fresh:
            self._seen[past.job] = (seen + len(fresh), fresh[-1].digest)

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
        self.pins.hold(past.job, cid, [shard.cid for shard in shards], stays=True)
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
