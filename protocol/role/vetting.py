"""Looking at a job before anything is staked on it.

Whoever can pay may post a job, so its manifest may be missing, malformed, or speak of other work
than its terms. INVARIANTS: no role joins, accepts or computes for a job whose manifest it has not
read; a job that was refused stays refused; asking, however many jobs are posted whose manifests
nobody serves, takes a tenth of a role's time, after its duties, and its own jobs come first.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from protocol.role.job_files import JobFiles
from protocol.role.sight import JobSight, Sight
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory
from protocol.rules.records import JobId
from protocol.storage.errors import StorageError
from protocol.training.errors import ProgramError
from protocol.training.program_text import program_root

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0
"""Seconds until a manifest that did not arrive is asked for again; doubles each time."""
ASK_SECONDS: Final = 10.0
"""So long a manifest may take to arrive: no duty is kept waiting for longer."""
SHARE: Final = 0.1
"""Of a role's time that goes into asking."""
AT_ONCE: Final = 0.5
"""Seconds of asking that need not have been saved up: manifests that are near come at once."""


@dataclass(slots=True)
class _Missing:
    tries: int = 0
    again: float = 0.0
    pause: float = FIRST_PAUSE


class Vetting:
    """What this role thinks of each job; forgotten and found again at a restart."""

    def __init__(self, files: JobFiles, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.files = files
        self.clock = clock
        self._verdicts: dict[JobId, bool] = {}
        self._missing: dict[JobId, _Missing] = {}
        self._paid = float("-inf")  # until then the time spent on asking is more than its share

    def is_fit(self, past: JobHistory) -> bool | None:
        """Whether the manifest is here and is work that this release can do; None if never asked.

        Costs nothing: `ask` does the asking.
        """
        unread = False if past.job in self._missing else None
        return self._verdicts.get(past.job, unread)

    def ask(self, sight: Sight) -> None:
        """Read what manifests there is time for: own jobs first, then who was asked for least."""
        unread = [js for js in sight.jobs.values() if js.past.job not in self._verdicts]
        for js in sorted(unread, key=lambda js: (_rank(sight, js), self._of(js.past.job).tries)):
            past, began = js.past, self.clock()
            if self._paid > began + AT_ONCE / SHARE:
                return
            if began >= self._of(past.job).again:
                self._look(past, self._of(past.job))
                self._paid = max(self._paid, began) + (self.clock() - began) / SHARE

    def _of(self, job: JobId) -> _Missing:
        return self._missing.get(job, _Missing())

    def _look(self, past: JobHistory, missing: _Missing) -> None:
        try:
            self._read(past)
            self._verdicts[past.job] = True
        except StorageError as error:
            log.warning("manifest not here", job=past.job, error=str(error))
            again, pause = self.clock() + missing.pause, min(2 * missing.pause, LONGEST_PAUSE)
            self._missing[past.job] = _Missing(missing.tries + 1, again, pause)
        except GradproofError as error:
            log.error("job refused", job=past.job, error=str(error))
            self._verdicts[past.job] = False

    def _read(self, past: JobHistory) -> None:
        program = self.files.manifest(past, timeout=ASK_SECONDS).program
        if program.root != program_root(program.name):
            raise ProgramError(
                f"job {past.job} wants another edition of {program.name} than this release has",
                why="Results of two editions differ.",
                fix="Install the release that the requester used.",
            )


def _rank(sight: Sight, js: JobSight) -> int:
    """What comes first: 0 where this role has something at stake, 1 where it may have duties."""
    past, me = js.past, sight.provider
    sealed = any(key[0] == past.job for key in sight.openings)
    if sealed or js.job.coordinator_provider == me or any(owner == me for _, owner in past.roster):
        return 0
    drawn = js.open_round is not None and any(owner == me for _, owner in js.roster)
    return 1 if drawn else 2
