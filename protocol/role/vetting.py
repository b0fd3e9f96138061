"""Looking at a job before anything is staked on it.

Whoever can pay may post a job, so its manifest may be missing, malformed, or speak of other work
than its terms. INVARIANT: no role joins, accepts or computes for a job whose manifest it has not
read; a job that was refused stays refused, and one whose manifest does not arrive is asked for
again, ever more rarely, so that it cannot hold up the others.
"""

import time
from collections.abc import Callable

import structlog

from protocol.role.job_files import JobFiles
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory
from protocol.rules.records import JobId
from protocol.storage.errors import StorageError
from protocol.training.errors import ProgramError
from protocol.training.program_text import program_root

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0
"""Seconds until a manifest that did not arrive is asked for again; doubles each time."""


class Vetting:
    """What this role thinks of each job; forgotten and found again at a restart."""

    def __init__(self, files: JobFiles, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.files = files
        self.clock = clock
        self._verdicts: dict[JobId, bool] = {}
        self._missing: dict[JobId, tuple[float, float]] = {}  # when to ask again, pause after that

    def is_fit(self, past: JobHistory) -> bool:
        """True where the manifest is here and is work that this release can do."""
        again, pause = self._missing.get(past.job, (0.0, FIRST_PAUSE))
        if past.job not in self._verdicts and self.clock() >= again:
            try:
                self._read(past)
                self._verdicts[past.job] = True
            except StorageError as error:
                log.warning("manifest not here", job=past.job, error=str(error))
                later = min(2 * pause, LONGEST_PAUSE)
                self._missing[past.job] = (self.clock() + pause, later)
            except GradproofError as error:
                log.error("job refused", job=past.job, error=str(error))
                self._verdicts[past.job] = False
        return self._verdicts.get(past.job, False)

    def _read(self, past: JobHistory) -> None:
        program = self.files.manifest(past).program
        if program.root != program_root(program.name):
            raise ProgramError(
                f"job {past.job} wants another edition of {program.name} than this release has",
                why="Results of two editions differ.",
                fix="Install the release that the requester used.",
            )
