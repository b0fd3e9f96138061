"""What a role sees when it decides: one frozen view of chain and memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.chain.views import stored, where_it_stands
from protocol.role.openings import Key, Opening, OpeningStore
from protocol.rules.history import JobHistory, MarketHistory, RoundHistory
from protocol.rules.records import Address, Ending, JobId, JobView, Phase, RoundView
from protocol.rules.sealing import words
from protocol.rules.seats import Roster

PATIENCE: Final = 4
"""Blocks that a coordinator has for moving a round on before others do."""


@dataclass(frozen=True, slots=True)
class JobSight:
    """One job: its past, and where it stands for the next transaction."""

    past: JobHistory
    job: JobView
    round: RoundView
    roster: Roster  # verifiers of the round's epoch
    fit: bool | None = True  # its manifest is work that this release can do; None before it is read
    advance_due: bool = False  # storage lags, and it is for this role to move it on
    proof_due: int = 0  # block whose header it is for this role to show the beacon; 0 for none

    @property
    def open_round(self) -> RoundHistory | None:
        """The open round's record, once its opening has been read from the chain."""
        record = self.past.open_round
        return record if record is not None and record.number == self.round.number else None


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything `decide` may look at.

    It stays as it is but for `openings`, which shows what acting has put on disk meanwhile.
    """

    now: int
    """The block in which an action would land."""
    read: int
    """The newest block that `market` tells of: the one before `now`, less the confirmations."""
    provider: Address
    operator: Address
    market: MarketHistory
    jobs: Mapping[JobId, JobSight]
    openings: Mapping[Key, Opening]
    leaving: bool = False  # it was told to end: nothing new is begun


class Observer:
    """Reads the chain into a Sight."""

    def __init__(
        self,
        chain: Chain,
        indexer: Indexer,
        openings: OpeningStore,
        provider: Address,
        operator: Address,
        is_fit: Callable[[JobHistory], bool | None],
    ) -> None:
        self.chain = chain
        self.indexer = indexer
        self.openings = openings
        self.provider = provider
        self.operator = operator
        self.is_fit = is_fit

    def observe(self, *, leaving: bool = False) -> Sight:
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
                proof_due=self._must_prove(past, round_),
            )
        return Sight(
            now=self.indexer.head + 1,
            read=self.indexer.block,
            provider=self.provider,
            operator=self.operator,
            market=market,
            jobs=jobs,
            openings=self.openings.all(),
            leaving=leaving,
        )

    def _must_advance(self, past: JobHistory, now: RoundView) -> bool:
        """Moving rounds on is the coordinator's duty at once, and everybody's when it is late."""
        if past.terms.coordinator == self.operator:
            _, kept = stored(self.chain, past.job)
            # A settlement too large for one call goes on without a change that a clock would show.
            return kept.phase == Phase.FINALISE or _clock(kept) != _clock(now)
        return self._has_waited(past) and _clock_read(past) != _clock(now)

    def _must_prove(self, past: JobHistory, now: RoundView) -> int:
        target = now.beacon_block
        if not target or not (past.terms.coordinator == self.operator or self._has_waited(past)):
            return 0
        return target if self.chain.awaits_proof(target) else 0

    def _has_waited(self, past: JobHistory) -> bool:
        """Whether something has been due for so long that the coordinator seems to be gone.

        Roles lose patience one after the other, so that one of them acts and not all.
        """
        order = int.from_bytes(keccak(words(self.operator, past.job))[:4], "big") % PATIENCE
        return self.indexer.block + 1 >= due_since(past, self.indexer.block) + PATIENCE + order


def due_since(past: JobHistory, block: int) -> int:
    """The block from which a job could have been moved on, as far as its events tell."""
    record = past.open_round
    if record is None:
        began = past.rounds[-1].finalised_at if past.rounds else past.posted_at
        return past.waits_until if past.waits_until <= block else began
    if record.beacon_block:
        return record.beacon_block + 1
    return record.deadline or record.started.get(record.phase, 0)


def _clock(round_: RoundView) -> tuple[Phase, int, int]:
    return round_.phase, round_.deadline, round_.beacon_block


def _clock_read(past: JobHistory) -> tuple[Phase, int, int] | None:
    """The clock that the events read so far show; None in a settlement, which is always due."""
    record = past.open_round
    if record is None:
        return Phase.WAITING, past.waits_until, 0
    done = record.phase == Phase.FINALISE
    return None if done else (record.phase, record.deadline, record.beacon_block)
