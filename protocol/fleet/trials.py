"""Who computes for a queue, and what it can do: consumers that are there, and their trials.

Before a job is joined, every consumer of the queue tries one of its tasks, publishes nothing, and
writes down how long it took and how much memory. A trial belongs to one consumer, so it needs no
lease. INVARIANT: a trial that ends its consumer is seen as such and counts against the job.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, select, update
from sqlalchemy.orm import Session

from protocol.database.tables import ConsumerRow, TrialRow
from protocol.fleet.computation import Computation
from protocol.fleet.leases import clock_of
from protocol.rules.records import JobId

WAITING, BEGUN, DONE, FAILED = "waiting", "begun", "done", "failed"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a consumer says of itself; memory in bytes: the machine's, and what it could have."""

    name: str
    device: str
    host: str
    memory: int
    free: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One task of a job as one consumer found it: seconds, and the process's peak in bytes."""

    consumer: str
    market: str
    job: JobId
    state: str
    seconds: float = 0.0
    peak: int = 0
    error: str = ""


class Trials:
    """The consumers of one queue and their trials. Raises DatabaseUnavailable."""

    def __init__(
        self,
        engine: Engine,
        queue: str,
        *,
        silent_seconds: float = 60.0,
        clock: Callable[[Session], float] | None = None,
    ) -> None:
        self.queue = queue
        self.silent_seconds = silent_seconds
        self._engine = engine
        self._readers = engine.execution_options(only_reads=True)
        self._clock = clock or clock_of(engine)

    # --- the consumer's side ---

    def appear(self, facts: Facts) -> None:
        """Say that this consumer is there; to be said again before `silent_seconds` are over."""
        with self._writing() as session:
            session.merge(
                ConsumerRow(
                    queue=self.queue,
                    name=facts.name,
                    device=facts.device,
                    host=facts.host,
                    memory=facts.memory,
                    free=facts.free,
                    seen=self._clock(session),
                )
            )

    def vanish(self, name: str) -> None:
        """Say that this consumer ends, and that nothing it tried has ended it."""
        with self._writing() as session:
            here = (ConsumerRow.queue == self.queue, ConsumerRow.name == name)
            session.execute(delete(ConsumerRow).where(*here))
            unended = TrialRow.state.in_((WAITING, BEGUN))
            session.execute(delete(TrialRow).where(*self._own(name), unended))

    def begin(self, name: str) -> Computation | None:
        """The next task to try; None where there is nothing to try."""
        query = select(TrialRow).where(*self._own(name), TrialRow.state == WAITING)
        waiting = query.order_by(TrialRow.job).limit(1)
        with self._reading() as session:
            if session.scalar(waiting) is None:
                return None
        with self._writing() as session:
            row: TrialRow | None = session.scalar(waiting)
            if row is None:
                return None
            row.state = BEGUN
            return Computation.from_json(row.description)

    def finish(self, name: str, tried: Computation, seconds: float, peak: int) -> None:
        """Write down how it went."""
        self._end(name, tried, {"state": DONE, "seconds": seconds, "peak": peak})

    def give_up(self, name: str, tried: Computation, error: str) -> None:
        """Write down why it could not be done."""
        self._end(name, tried, {"state": FAILED, "error": error[:2000]})

    def _end(self, name: str, tried: Computation, values: dict[str, Any]) -> None:
        query = update(TrialRow).where(*self._own(name), *self._about(tried.market, tried.job))
        with self._writing() as session:
            session.execute(query.values(**values))

    # --- the role's side ---

    def consumers(self) -> list[Facts]:
        """Who is there now, by name."""
        with self._reading() as session:
            since = self._clock(session) - self.silent_seconds
            query = select(ConsumerRow).where(
                ConsumerRow.queue == self.queue, ConsumerRow.seen >= since
            )
            rows = session.scalars(query.order_by(ConsumerRow.name)).all()
        return [Facts(r.name, r.device, r.host, r.memory, r.free) for r in rows]

    def of_job(self, market: str, job: JobId) -> list[Trial]:
        """Every trial of a job, also of consumers that are gone."""
        query = select(TrialRow).where(*self._about(market, job))
        with self._reading() as session:
            rows = session.scalars(query.order_by(TrialRow.consumer)).all()
        return [
            Trial(r.consumer, r.market, JobId(r.job), r.state, r.seconds, r.peak, r.error)
            for r in rows
        ]

    def jobs(self) -> set[tuple[str, JobId]]:
        """The jobs that something was tried of, by market and number."""
        query = select(TrialRow.market, TrialRow.job).where(TrialRow.queue == self.queue)
        with self._reading() as session:
            return {(market, JobId(job)) for market, job in session.execute(query.distinct())}

    def ask(self, wanted: Computation, names: list[str]) -> None:
        """Have these consumers try a task, each for itself; once."""
        known = {trial.consumer for trial in self.of_job(wanted.market, wanted.job)}
        with self._writing() as session:
            for name in names:
                if name not in known:
                    session.merge(
                        TrialRow(
                            queue=self.queue,
                            consumer=name,
                            market=wanted.market,
                            job=wanted.job,
                            description=wanted.as_json(),
                            state=WAITING,
                        )
                    )

    def drop(self, market: str, job: JobId) -> None:
        """Forget a job's trials, so that they can be made again."""
        with self._writing() as session:
            session.execute(delete(TrialRow).where(*self._about(market, job)))

    # --- below ---

    def _own(self, name: str) -> tuple[ColumnElement[bool], ...]:
        return TrialRow.queue == self.queue, TrialRow.consumer == name

    def _about(self, market: str, job: JobId) -> tuple[ColumnElement[bool], ...]:
        return TrialRow.queue == self.queue, TrialRow.market == market, TrialRow.job == job

    def _reading(self) -> Session:
        return Session(self._readers, expire_on_commit=False)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with Session(self._engine) as session, session.begin():
            yield session
