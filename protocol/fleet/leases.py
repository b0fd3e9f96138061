"""Who computes what: one row per computation, taken by a lease that runs out unless it is renewed.

A consumer that ends, hangs or loses its network loses its lease, and the next one to look takes the
computation over. INVARIANTS: every grant has a higher token than the one before; whoever holds an
older token cannot renew, note or finish, so a computation has one answer; of what can be computed,
the one whose window closes first is taken first.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, and_, delete, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from protocol.database.tables import ComputationRow as Row
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.errors import ComputationFailed, LeaseLost
from protocol.fleet.pauses import pause_after
from protocol.rules.records import JobId

WAITING, LEASED, DONE, FAILED = "waiting", "leased", "done", "failed"

MOST_ATTEMPTS: Final = 5
"""So many may end in a crash or in silence before the computation is taken for what ended them."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute something, for a while."""

    key: str
    token: int
    computation: Computation


@dataclass(frozen=True, slots=True)
class Late:
    """A computation whose window closed, as it was found, and what it may have published."""

    key: str
    token: int
    job: JobId
    round: int
    cids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a consumer found, the CIDs it published (index first), and how long it took."""

    computed: Computed
    cids: tuple[str, ...]
    seconds: float


class Leases:
    """The computations of one queue. Safe for threads, processes and hosts.

    Every method raises DatabaseUnavailable while the database is away.
    """

    def __init__(
        self,
        engine: Engine,
        queue: str,
        *,
        seconds: float = 30.0,
        clock: Callable[[Session], float] | None = None,
    ) -> None:
        self.queue = queue
        self.seconds = seconds
        self.engine = engine
        self._readers = engine.execution_options(only_reads=True)
        self._clock = clock or clock_of(engine)

    # --- the role's side ---

    def ask(self, wanted: Computation, deadline: int) -> bool:
        """Have it computed by a block; True where nobody had asked for it yet.

        Raises ComputationFailed where it was given up.
        """
        key = wanted.key
        with self._reading() as session:
            row = session.get(Row, (self.queue, key))
        if row is None:
            return self._add(wanted, key, deadline)
        if row.state == FAILED:
            attempts = row.vanished
            raise ComputationFailed(wanted.question, wanted.round, attempts, row.error)
        if row.deadline != deadline and row.state == WAITING:
            with self._writing() as session:
                session.execute(self._that(key, update(Row)).values(deadline=deadline))
        return False

    def _add(self, wanted: Computation, key: str, deadline: int) -> bool:
        row = Row(
            queue=self.queue,
            key=key,
            market=wanted.market,
            job=wanted.job,
            round=wanted.round,
            description=wanted.as_json(),
            deadline=deadline,
            state=WAITING,
        )
        try:
            with self._writing() as session:
                session.add(row)
        except IntegrityError:
            return False  # another role asked for the same, just now
        return True

    def answer(self, key: str) -> Answered | None:
        """What came of a computation; None while there is nothing."""
        with self._reading() as session:
            row = session.get(Row, (self.queue, key))
        if row is None or row.state != DONE:
            return None
        assert row.root is not None, "an answer is whole"
        assert row.cid is not None, "an answer is whole"
        assert row.witness is not None, "an answer is whole"
        return Answered(Computed(row.root, row.cid, row.witness), tuple(row.cids), row.seconds)

    def any_answered(self, keys: Sequence[str]) -> bool:
        """Tell whether one of these is there now."""
        query = select(Row.key).where(Row.queue == self.queue, Row.state == DONE, Row.key.in_(keys))
        with self._reading() as session:
            return session.scalar(query.limit(1)) is not None

    def late(self, market: str, block: int) -> list[Late]:
        """What nobody has answered or holds, and whose window closed before `block`."""
        late = and_(Row.market == market, Row.state == WAITING, Row.deadline < block)
        with self._reading() as session:
            rows = session.scalars(select(Row).where(Row.queue == self.queue, late))
            return [Late(r.key, r.token, JobId(r.job), r.round, tuple(r.cids)) for r in rows]

    def expire(self, late: Sequence[Late]) -> None:
        """Forget these, but for what somebody has taken since."""
        if not late:
            return
        with self._writing() as session:
            for one in late:
                same = (Row.state == WAITING, Row.token == one.token)
                session.execute(self._that(one.key, delete(Row)).where(*same))

    def noted(self, market: str, job: JobId, before: int) -> list[tuple[str, ...]]:
        """The CIDs of answers to a job's rounds below `before`, published or about to be."""
        with self._reading() as session:
            rows = session.scalars(select(Row.cids).where(self._old(market, job, before)))
            return [tuple(cids) for cids in rows if cids]

    def drop(self, market: str, job: JobId, before: int) -> None:
        """Forget a job's rounds below `before`; who still computes for them is not heard."""
        with self._writing() as session:
            session.execute(delete(Row).where(self._old(market, job, before)))

    def jobs(self) -> dict[tuple[str, JobId], int]:
        """The jobs that something is known of, by market and number, with their oldest round."""
        query = select(Row.market, Row.job, func.min(Row.round)).where(Row.queue == self.queue)
        with self._reading() as session:
            rows = session.execute(query.group_by(Row.market, Row.job)).all()
        return {(market, JobId(job)): oldest for market, job, oldest in rows}

    # --- the consumer's side ---

    def claim(self, consumer: str) -> Lease | None:
        """Take the most urgent computation that is free, or whose lease ran out; None for none."""
        while True:
            with self._writing() as session:
                now = self._clock(session)
                row = session.scalar(self._next(now))
                if row is None:
                    return None
                if row.state == LEASED:
                    row.vanished += 1
                if row.vanished < MOST_ATTEMPTS:
                    row.state, row.consumer = LEASED, consumer
                    row.token += 1
                    row.leased_at, row.lease_until = now, now + self.seconds
                    return Lease(row.key, row.token, Computation.from_json(row.description))
                row.state = FAILED

    def _next(self, now: float) -> Any:
        free = and_(Row.state == WAITING, Row.not_before <= now)
        left = and_(Row.state == LEASED, Row.lease_until < now)
        query = select(Row).where(Row.queue == self.queue, or_(free, left))
        # Two consumers that look at once do not wait for each other's row.
        return query.order_by(Row.deadline, Row.key).limit(1).with_for_update(skip_locked=True)

    def renew(self, lease: Lease) -> None:
        """Keep a lease for as long again; raises LeaseLost."""
        with self._writing() as session:
            self._held(session, lease).lease_until = self._clock(session) + self.seconds

    def note(self, lease: Lease, cids: Sequence[str]) -> None:
        """Write down what is about to be published, so that it can be unpinned; or LeaseLost."""
        with self._writing() as session:
            self._held(session, lease).cids = list(cids)

    def finish(self, lease: Lease, computed: Computed, seconds: float) -> None:
        """Give the answer; raises LeaseLost."""
        with self._writing() as session:
            row = self._held(session, lease)
            row.state, row.seconds = DONE, seconds
            row.root, row.cid, row.witness = computed.root, computed.cid, computed.witness

    def give_back(self, lease: Lease) -> None:
        """Let somebody else compute it, at once; raises LeaseLost."""
        with self._writing() as session:
            self._held(session, lease).state = WAITING

    def postpone(self, lease: Lease, error: str) -> None:
        """Try again after a pause: it, or this host, lacks something just now; or LeaseLost."""
        with self._writing() as session:
            row = self._held(session, lease)
            row.errors += 1
            row.state, row.error = WAITING, error[:2000]
            row.not_before = self._clock(session) + pause_after(row.errors)

    def break_off(self, lease: Lease, error: str) -> None:
        """The same for a defect: it counts like a consumer that vanished; or LeaseLost.

        The pause gives other consumers, on other hosts, their turn.
        """
        with self._writing() as session:
            row = self._held(session, lease)
            row.vanished += 1
            row.error = error[:2000]
            row.state = FAILED if row.vanished >= MOST_ATTEMPTS else WAITING
            row.not_before = self._clock(session) + pause_after(row.vanished)

    # --- figures ---

    def depth(self) -> int:
        """How many computations nobody has taken."""
        query = select(func.count()).where(Row.queue == self.queue, Row.state == WAITING)
        with self._reading() as session:
            return session.scalar(query) or 0

    def lease_age(self) -> float:
        """Seconds since the oldest lease under way was granted; 0 where there is none."""
        query = select(func.min(Row.leased_at)).where(Row.queue == self.queue, Row.state == LEASED)
        with self._reading() as session:
            oldest = session.scalar(query)
            return 0.0 if oldest is None else max(0.0, self._clock(session) - oldest)

    # --- below ---

    def _that(self, key: str, statement: Any) -> Any:
        return statement.where(Row.queue == self.queue, Row.key == key)

    def _old(self, market: str, job: JobId, before: int) -> Any:
        named = and_(Row.queue == self.queue, Row.market == market, Row.job == job)
        return and_(named, Row.round < before)

    def _held(self, session: Session, lease: Lease) -> Row:
        row: Row | None = session.scalar(self._that(lease.key, select(Row)).with_for_update())
        # INVARIANT: only the newest token is heard.
        if row is None or row.state != LEASED or row.token != lease.token:
            raise LeaseLost(lease.key, lease.token)
        return row

    def _reading(self) -> Session:
        return Session(self._readers, expire_on_commit=False)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with Session(self.engine) as session, session.begin():
            yield session


def clock_of(engine: Engine) -> Callable[[Session], float]:
    """One clock for all consumers: the server's; a file is used on one host alone."""
    if engine.dialect.name == "postgresql":
        now = text("SELECT extract(epoch FROM clock_timestamp())")
        return lambda session: float(session.scalar(now))
    return lambda _session: time.time()
