"""What a role counts about itself, for Prometheus: every name, its unit and its meaning.

One `RoleMetrics` lives in the service process of a role; it has a registry of its own, so that
several can live in one test. Gauges hold what was last seen, counters only grow.
"""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from protocol.storage.counters import COUNTERS, Counters

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Upper bounds of the buckets: from a toy model's step to an hour."""

TICKS = ("done", "chain", "gas", "database")
"""How a look at the chain ends: done, or given up for what was not to be had."""


class RoleMetrics:
    """The metrics of one role process."""

    def __init__(self, role: str, version: str, counters: Counters | None = None) -> None:
        self.registry = registry = CollectorRegistry()

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"gradproof_{name}", about, labels, registry=registry)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"gradproof_{name}", about, labels, registry=registry)

        def histogram(name: str, about: str, *labels: str) -> Histogram:
            return Histogram(f"gradproof_{name}", about, labels, registry=registry, buckets=SECONDS)

        Info("gradproof", "role and release", registry=registry).info(
            {"role": role, "version": version}
        )
        # The loop.
        self.ticks = counter("ticks", "looks at the chain, by how they ended", "outcome")
        for outcome in TICKS:
            self.ticks.labels(outcome)  # a counter that begins at 1 shows no increase
        self.tick_seconds = histogram("tick_seconds", "one look at the chain with its acts")
        self.last_tick = gauge("last_tick_timestamp_seconds", "when the last good tick ended")
        self.acts = counter("acts", "what the role did or tried", "act", "outcome")
        for act in ("answer", "hold", "prove"):
            self.acts.labels(act, "failed")
        self.queue_depth = gauge("queue_depth", "computations that no consumer has taken")
        self.lease_age = gauge("lease_age_seconds", "since the oldest lease under way was granted")
        self.compute_seconds = histogram("compute_seconds", "computing one answer", "stage")
        self.consumers = gauge("consumers", "that compute for this role's queue now")
        self.slots_to_join = gauge(
            "slots_to_join", "that a job which is not joined could be joined with", "job_id"
        )
        # The chain.
        self.head = gauge("head_block", "newest block of the endpoint")
        self.indexed = gauge("indexed_block", "newest block that the role has read")
        self.transactions = gauge("transactions", "of this key, by state", "state")
        self.reverted = counter(
            "transactions_reverted", "that cost gas and did nothing, or lost their nonce"
        )
        self.oldest_pending = gauge(
            "oldest_pending_transaction_blocks",
            "blocks since the oldest one under way was first sent",
        )
        # Money, in whole tokens and ether: a gauge is a float, and no decision rests on it.
        self.ether = gauge("operator_ether", "what the operator's key has for gas")
        self.affordable = gauge("operator_acts", "that this ether pays for at the present fees")
        self.tokens = gauge("provider_tokens", "the provider's money in the vault", "ledger")
        self.earned = gauge("earned_tokens", "credited to the provider so far, by reason", "reason")
        self.lost = gauge("lost_tokens", "slashed from the provider so far, by reason", "reason")
        # The market.
        self.jobs = gauge("running_jobs", "jobs that have not ended")
        self.phase = gauge("job_phase", "number of the phase that a job is in", "job_id")
        self.round = gauge("job_round", "number of the open round of a job", "job_id")
        self.blocks_left = gauge("job_blocks_left", "blocks until the deadline of a job", "job_id")
        self.seals = gauge("own_seals", "own seals in open rounds, by state", "state")
        # The content store.
        self.store_up = gauge("store_up", "whether a daemon of the content store answers")
        if counters is not None:
            registry.register(_StoreCounters(counters))

    def weigh(self, consumers: int, slots: Mapping[int, int]) -> None:
        """What a worker's consumers could serve of each job that it has not joined."""
        self.consumers.set(consumers)
        self.slots_to_join.clear()
        for job, number in slots.items():
            self.slots_to_join.labels(str(job)).set(number)


class _StoreCounters(Collector):
    """The content store's own counters, read when they are asked for."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        totals: Mapping[str, int] = self._counters.totals()
        for name, about in COUNTERS.items():
            yield CounterMetricFamily(f"gradproof_store_{name}", about, value=totals[name])
