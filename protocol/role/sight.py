"""What a role sees when it decides: one frozen view of chain and memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.chain.views import stored, where_it_stands
from protocol.role.openings import Key, Opening, OpeningStore
from protocol.rules.history import JobHistory, MarketHistory, RoundHistory
from protocol.rules.records import Address, Ending, JobId, JobView, Phase, RoundView
from protocol.rules.seats import Roster


@dataclass(frozen=True, slots=True)
class JobSight:
    """One job: its past, and where it stands for the next transaction."""

    past: JobHistory
    job: JobView
    round: RoundView
    roster: Roster  # verifiers of the round's epoch
    fit: bool = True  # its manifest was read, and is work that this release can do
    advance_due: bool = False  # only its coordinator looks: storage lags and has to be moved on

    @property
    def open_round(self) -> RoundHistory | None:
        """The open round's record, once its opening has been read from the chain."""
        record = self.past.open_round
        return record if record is not None and record.number == self.round.number else None


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything `decide` may look at; `now` is the block in which an action would land."""

    now: int
    provider: Address
    operator: Address
    market: MarketHistory
    jobs: Mapping[JobId, JobSight]
    openings: Mapping[Key, Opening]


class Observer:
    """Reads the chain into a Sight."""

    def __init__(
        self,
        chain: Chain,
        indexer: Indexer,
        openings: OpeningStore,
        provider: Address,
        operator: Address,
        is_fit: Callable[[JobHistory], bool],
    ) -> None:
        self.chain = chain
        self.indexer = indexer
        self.openings = openings
        self.provider = provider
        self.operator = operator
        self.is_fit = is_fit

    def observe(self) -> Sight:
        """Read what is new and where every running job stands."""
        market = self.indexer.sync()
        jobs = {}
        for number, past in market.jobs.items():
            if past.ending != Ending.NONE:
                continue
            job, round_ = where_it_stands(self.chain, number)
            jobs[number] = JobSight(
                past=past,
                job=job,
                round=round_,
                roster=market.verifiers.at(round_.epoch),
                fit=self.is_fit(past),
                advance_due=self._must_advance(past, round_),
            )
        return Sight(
            now=self.indexer.block + 1,
            provider=self.provider,
            operator=self.operator,
            market=market,
            jobs=jobs,
            openings=self.openings.all(),
        )

    def _must_advance(self, past: JobHistory, now: RoundView) -> bool:
        """Moving rounds on is the coordinator's duty, so nobody else asks what storage says."""
        if past.terms.coordinator != self.operator:
            return False
        _, kept = stored(self.chain, past.job)
        # A settlement too large for one call goes on without a change that a clock would show.
        return kept.phase == Phase.FINALISE or _clock(kept) != _clock(now)


def _clock(round_: RoundView) -> tuple[Phase, int, int]:
    return round_.phase, round_.deadline, round_.beacon_block
