"""A role's eyes on itself: turns what the loop sees and does into metrics and a pulse."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import TracebackType

import structlog

from protocol.chain.client import Chain
from protocol.chain.errors import FeeTooHigh, InsufficientFunds
from protocol.chain.tx_sender import TxSender
from protocol.database.errors import DatabaseUnavailable
from protocol.role.sight import Sight
from protocol.role.store_probe import StoreProbe
from protocol.rules.amounts import UNITS
from protocol.rules.errors import GradproofError
from protocol.rules.history import MarketHistory
from protocol.rules.records import Address, Reason
from protocol.runtime.health import HealthEndpoint, Pulse
from protocol.runtime.metrics import RoleMetrics
from protocol.storage.counters import Counters

log = structlog.get_logger()

MONEY_SECONDS = 30.0
"""Balances cost calls to the chain: they are read this seldom."""
WEI = 10**18
LOSSES = (Reason.WRONG, Reason.UNOPENED, Reason.LIVENESS)


class Watch:
    """Metrics and pulse of one role; as a context it serves them where `address` says."""

    def __init__(
        self,
        role: str,
        chain: Chain,
        sender: TxSender,
        counters: Counters,
        provider: Address,
        indexed: Callable[[], int],
        apis: Sequence[str] = (),
        address: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = RoleMetrics(role, version("gradproof"), counters)
        self.pulse = Pulse(clock)
        self._chain = chain
        self._sender = sender
        self._provider = provider
        self._address = address
        self._clock = clock
        self._money_read = -MONEY_SECONDS
        self._reverts = 0
        self._endpoint: HealthEndpoint | None = None
        self._probe = StoreProbe(apis, self._heard_store)
        self.metrics.indexed.set_function(indexed)
        self.awaited = ""
        """What a role that leaves still waits for."""

    def __enter__(self) -> "Watch":
        self.metrics.last_tick.set_to_current_time()  # it is early, not late
        if self._address:
            self._endpoint = HealthEndpoint(self._address, self.pulse, self.metrics.registry)
            self._probe.start()
            log.info("metrics served", url=self._endpoint.url)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._endpoint is not None:
            self._probe.stop()
            self._endpoint.close()

    # --- what the loop tells ---

    def turned(self, trouble: GradproofError | None = None) -> None:
        """The loop came round, with or without a new block, or had to give up its turn."""
        if trouble is not None:
            self.pulse.turned(str(trouble))
            self.metrics.ticks.labels(_missing(trouble)).inc()
        else:
            self.pulse.turned(f"leaving: waits {self.awaited}" if self.awaited else None)

    def heard(self, head: int) -> None:
        """The newest block of the endpoint."""
        self.metrics.head.set(head)

    @contextmanager
    def tick(self) -> Iterator[None]:
        """One look at the chain, with all its acts."""
        with self.metrics.tick_seconds.time():
            yield
        self.metrics.ticks.labels("done").inc()
        self.metrics.last_tick.set_to_current_time()

    @contextmanager
    def busy(self, with_what: str) -> Iterator[None]:
        """The loop does something that may take long."""
        self.pulse.busy(with_what)
        try:
            yield
        finally:
            self.pulse.busy(None)

    def computed(self, stage: str, seconds: float) -> None:
        """A consumer has computed one answer."""
        self.metrics.compute_seconds.labels(stage).observe(seconds)

    def fleet(self, depth: int, lease_age: float) -> None:
        """What waits for consumers, and for how long the slowest has computed."""
        self.metrics.queue_depth.set(depth)
        self.metrics.lease_age.set(lease_age)

    def acted(self, act: str, outcome: str) -> None:
        """An act was `done`, `refused` by the contracts, or `failed`."""
        self.metrics.acts.labels(act, outcome).inc()

    def saw(self, sight: Sight) -> None:
        """Everything that one sight tells."""
        self._see_jobs(sight)
        self._see_transactions(sight.now)
        self._see_earnings(sight.market)
        if self._clock() - self._money_read >= MONEY_SECONDS:
            self._money_read = self._clock()
            self._see_money()

    # --- what it comes to ---

    def _see_jobs(self, sight: Sight) -> None:
        m = self.metrics
        m.jobs.set(len(sight.jobs))
        for gauge in (m.phase, m.round, m.blocks_left):
            gauge.clear()  # jobs that ended take their labels with them
        sealed = opened = 0
        for number, js in sight.jobs.items():
            label = str(number)
            m.phase.labels(label).set(js.round.phase)
            m.round.labels(label).set(js.round.number)
            if js.round.deadline:
                m.blocks_left.labels(label).set(js.round.deadline - sight.now)
            seals = js.open_round.seals.values() if js.open_round else ()
            for seal in seals:
                if seal.provider == sight.provider:
                    sealed += seal.outcome is None
                    opened += seal.outcome is not None
        m.seals.labels("sealed").set(sealed)
        m.seals.labels("opened").set(opened)

    def _see_transactions(self, now: int) -> None:
        tally = self._sender.journal.tally()
        for state in ("sent", "mined", "reverted"):
            self.metrics.transactions.labels(state).set(tally.counts.get(state, 0))
        self.metrics.reverted.inc(tally.reverts - self._reverts)
        self._reverts = tally.reverts
        waiting = 0 if tally.oldest is None else now - tally.oldest
        self.metrics.oldest_pending.set(waiting)

    def _see_earnings(self, market: MarketHistory) -> None:
        for kind, gauge in (("credit", self.metrics.earned), ("slash", self.metrics.lost)):
            for reason in Reason:
                amount = market.money[self._provider, kind, reason]
                # A loss that is not shown before it happens would be no change when it does.
                if amount or (kind == "slash" and reason in LOSSES):
                    gauge.labels(reason.name.lower()).set(amount / UNITS)

    def _see_money(self) -> None:
        chain, m = self._chain, self.metrics
        for ledger in ("free", "locked", "credit"):
            amount = chain.call(chain.vault, f"{ledger}Of", self._provider)
            m.tokens.labels(ledger).set(amount / UNITS)
        m.ether.set(chain.balance(self._sender.address) / WEI)
        m.affordable.set(self._sender.affordable())

    def _heard_store(self, trouble: str | None) -> None:
        self.metrics.store_up.set(trouble is None)
        self.pulse.store(trouble)


def _missing(trouble: GradproofError) -> str:
    match trouble:
        case InsufficientFunds() | FeeTooHigh():
            return "gas"
        case DatabaseUnavailable():
            return "database"
    return "chain"
