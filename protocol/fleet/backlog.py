"""What the consumers of a queue still have to compute, and how long they took for what they have.

The role's side of `leases.py`, read only: a role weighs by it what else it may promise.
"""

from collections.abc import Sequence

from sqlalchemy import Engine, Select, select
from sqlalchemy.orm import Session

from protocol.database.tables import ComputationRow as Row
from protocol.database.tables import TrialRow
from protocol.fleet import trials
from protocol.fleet.computation import Computation
from protocol.fleet.leases import DONE, LEASED, WAITING
from protocol.rules.records import JobId


class Backlog:
    """The work of one queue. Raises DatabaseUnavailable."""

    def __init__(self, engine: Engine, queue: str) -> None:
        self.queue = queue
        self._readers = engine.execution_options(only_reads=True)

    def owed(self) -> list[tuple[Computation, int]]:
        """What no consumer has answered yet, with the block by which it is wanted, by urgency."""
        unanswered = Row.state.in_((WAITING, LEASED))
        query = select(Row).where(Row.queue == self.queue, unanswered)
        rows = self._rows(query.order_by(Row.deadline, Row.key))
        return [(Computation.from_json(row.description), row.deadline) for row in rows]

    def newest(self, market: str, job: JobId) -> dict[str, float]:
        """Seconds of the newest task of a job that each consumer has computed, by its name."""
        named = (Row.queue == self.queue, Row.market == market, Row.job == job)
        query = select(Row).where(*named, Row.state == DONE).order_by(Row.leased_at)
        return {
            row.consumer: row.seconds
            for row in self._rows(query)
            if not Computation.from_json(row.description).is_update
        }

    def trying(self) -> set[str]:
        """The consumers that are in the middle of a trial."""
        query = select(TrialRow.consumer).where(
            TrialRow.queue == self.queue, TrialRow.state == trials.BEGUN
        )
        with Session(self._readers) as session:
            return set(session.scalars(query))

    def _rows(self, query: Select[Row]) -> Sequence[Row]:
        with Session(self._readers, expire_on_commit=False) as session:
            return session.scalars(query).all()
