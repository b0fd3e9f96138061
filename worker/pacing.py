"""Looking at what the consumers do and how fast, before a task is claimed.

The observing half; `pace.py` decides. Nothing is kept between two looks.
"""

from collections.abc import Mapping, Sequence

import structlog

from protocol.chain.client import Chain
from protocol.database.errors import DatabaseUnavailable
from protocol.fleet.backlog import Backlog
from protocol.fleet.computation import Computation
from protocol.fleet.trials import DONE, FAILED, Facts, Trials
from protocol.role.job_files import JobFiles
from protocol.role.sight import Sight
from protocol.rules.history import JobHistory
from protocol.rules.records import JobId, Phase
from protocol.training.footprint import task_bytes
from worker.claim import Limits, claimable
from worker.pace import Debt, Pace, Question, Speeds
from worker.survey import block_seconds

log = structlog.get_logger()


class Pacing:
    """How fast this worker's consumers are, and what they owe."""

    def __init__(
        self,
        chain: Chain,
        files: JobFiles,
        trials: Trials,
        backlog: Backlog,
        market: str,
    ) -> None:
        self.chain = chain
        self.files = files
        self.trials = trials
        self.backlog = backlog
        self.market = market

    def look(self, sight: Sight, limits: Limits) -> Pace:
        """The pace of this moment; nothing is looked at where nothing may be claimed."""
        if not any(True for js in sight.jobs.values() for _ in claimable(sight, js, limits)):
            return Pace()
        try:
            return self._measured(sight)
        except DatabaseUnavailable as error:
            # What is sealed must be opened all the same; claims can wait.
            log.warning("nothing is claimed", error=str(error))
            return Pace()

    def _measured(self, sight: Sight) -> Pace:
        trying = self.backlog.trying()
        here = [one for one in self.trials.consumers() if one.name not in trying]
        speeds = {
            job: self._speeds(self.market, job, self._able(js.past, here))
            for job, js in sight.jobs.items()
            if js.fit and js.round.phase == Phase.COMMIT
        }
        owed: dict[Question, Debt] = {}
        elsewhere = []
        for wanted, deadline in self.backlog.owed():
            debt = Debt(deadline, self._speeds_of(wanted, speeds, here))
            if wanted.market == self.market:
                owed[wanted.job, wanted.round, wanted.question] = debt
            else:
                elsewhere.append(debt)
        return Pace(block_seconds(self.chain), speeds, owed, tuple(elsewhere))

    def _able(self, past: JobHistory, here: Sequence[Facts]) -> list[Facts]:
        floor = task_bytes(self.files.manifest(past))
        return [one for one in here if one.free >= floor]

    def _speeds_of(
        self, wanted: Computation, known: Mapping[JobId, Speeds], here: Sequence[Facts]
    ) -> Speeds:
        if wanted.is_update:
            return {}  # nobody has tried one
        if wanted.market == self.market and wanted.job in known:
            return known[wanted.job]
        return self._speeds(wanted.market, wanted.job, here)

    def _speeds(self, market: str, job: JobId, here: Sequence[Facts]) -> Speeds:
        """Seconds of each consumer's newest task of a job, else of its trial.

        One that was started again is taken to be as slow as the slowest that was measured.
        """
        trials = self.trials.of_job(market, job)
        newest = self.backlog.newest(market, job)
        tried = {trial.consumer: trial.seconds for trial in trials if trial.state == DONE}
        known = {**tried, **newest}
        if not known:
            return {}
        unable = {trial.consumer for trial in trials if trial.state == FAILED} - set(newest)
        slowest = max(known.values())
        return {one.name: known.get(one.name, slowest) for one in here if one.name not in unable}
