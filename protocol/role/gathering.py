"""Which revealed results are here whole: a gatherer fetches each one before it gives its word.

What has not arrived is asked for again, ever more rarely, until the last quarter of the window: an
outage of a minute is nobody's fault. INVARIANT: a gatherer whose own store is silent says nothing
about the results of others, whose word would cost them half their pay.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from protocol.role.answers import revealed
from protocol.role.job_files import JobFiles
from protocol.role.sight import JobSight, Sight
from protocol.rules.errors import GradproofError
from protocol.rules.records import JobId
from protocol.rules.sealing import is_finite

log = structlog.get_logger()

FIRST_PAUSE = 2.0
"""Seconds until what did not arrive is asked for again; doubles each time."""
MOST_SECONDS = 60.0
"""After that long a search makes room for other duties, and goes on later."""

Result = tuple[int, bytes, bytes]
"""Task, root and CID: what another block may reveal of a task is another result."""


@dataclass(slots=True)
class _Search:
    round: int
    here: set[Result] = field(default_factory=set)
    tries: dict[Result, int] = field(default_factory=dict)
    again: float = 0.0
    pause: float = FIRST_PAUSE


class Gathering:
    """The searches of the open rounds; what they found is kept until the round is another."""

    def __init__(self, files: JobFiles, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.files = files
        self.clock = clock
        self._searches: dict[JobId, _Search] = {}

    def word(self, sight: Sight, job: JobId) -> int | None:
        """Bitmap of the tasks whose results are here; None while there is nothing to say yet."""
        js = sight.jobs[job]
        search = self._search(sight, js)
        wanted = _revealed(js)
        late = sight.now >= js.round.deadline - js.past.terms.windows.gather // 4
        if wanted - search.here and (late or self.clock() >= search.again):
            self._fetch(js, search, wanted - search.here)
        missing = wanted - search.here
        if missing and not late:
            return None
        if missing and self._is_cut_off():
            log.error("nothing said of results: the own store does not answer", job=job)
            return None
        return sum(1 << task for task, _, _ in wanted & search.here)

    def _search(self, sight: Sight, js: JobSight) -> _Search:
        self._searches = {job: s for job, s in self._searches.items() if job in sight.jobs}
        found = self._searches.get(js.past.job)
        if found is None or found.round != js.round.number:
            found = self._searches[js.past.job] = _Search(js.round.number)
        return found

    def _is_cut_off(self) -> bool:
        daemons = self.files.store.describe()
        return bool(daemons) and all(daemon.why for daemon in daemons)

    def _fetch(self, js: JobSight, search: _Search, missing: set[Result]) -> None:
        began = self.clock()
        for result in sorted(missing, key=lambda one: (search.tries.get(one, 0), one)):
            task, root, cid = result
            left = MOST_SECONDS - (self.clock() - began)
            if left <= 0:
                break
            try:
                self.files.result(js.past, root, cid, timeout=left)
                search.here.add(result)
            except GradproofError as error:
                log.warning("result not here", job=js.past.job, task=task, error=str(error))
                search.tries[result] = search.tries.get(result, 0) + 1
        search.again = self.clock() + search.pause
        search.pause *= 2


def _revealed(js: JobSight) -> set[Result]:
    record = js.open_round
    assert record is not None
    outcomes = ((task, revealed(record, task)) for task in range(js.past.terms.tasks))
    return {(t, o.root, o.cid) for t, o in outcomes if o is not None and is_finite(o)}
