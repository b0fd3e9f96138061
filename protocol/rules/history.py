"""A market's past, folded from its events: the projection that every role and the auditor share.

It is filled by rules/fold.py in chain order and from nothing else, so two readers of the same chain
hold the same history. Nothing here decides; rules/settlement.py judges what is recorded.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.rules.records import (
    ZERO_ADDRESS,
    Address,
    Ending,
    JobId,
    Outcome,
    Phase,
    Reason,
    Slot,
    Stage,
    TaskResult,
    Terms,
    Windows,
)

Roster = tuple[tuple[Slot, Address], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One decoded log; `block` and `log` give its place in the chain."""

    name: str
    args: Mapping[str, Any]
    block: int
    log: int
    transaction: str


@dataclass(slots=True)
class Seal:
    """One seal and, once somebody opened it, its outcome."""

    stage: Stage
    question: int
    seat: int
    provider: Address
    operator: Address
    hash: bytes
    block: int
    transaction: str
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One movement of money: kind is credit, slash or burn; amount in the token's smallest unit."""

    kind: str
    account: Address
    question: int
    reason: Reason
    amount: int
    transaction: str = ""

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        """What two derivations of the same movement agree on."""
        return (self.kind, self.account, self.question, int(self.reason), self.amount)


@dataclass(slots=True)
class RoundHistory:
    """One round of a job, as far as it has got."""

    number: int
    state_root: bytes
    state_cid: bytes
    workers: list[tuple[Slot, Address]]
    verifiers: int
    epoch: int
    opened_at: int
    coordinator_provider: Address
    phase: Phase = Phase.SEED
    deadline: int = 0
    beacon_block: int = 0
    beacons: dict[Phase, bytes] = field(default_factory=dict)
    beacon_blocks: dict[Phase, int] = field(default_factory=dict)
    started: dict[Phase, int] = field(default_factory=dict)  # first block of each phase
    seals: dict[tuple[Stage, int, int], Seal] = field(default_factory=dict)
    claims: dict[int, tuple[Slot, Address]] = field(default_factory=dict)  # by task
    passed: dict[tuple[Phase, int, int], dict[int, int]] = field(
        default_factory=dict
    )  # (phase, question, seat) -> turn -> block
    gathered: dict[int, tuple[Address, int]] = field(default_factory=dict)
    verdicts: dict[int, tuple[bool, bytes]] = field(default_factory=dict)
    results: dict[int, TaskResult] = field(default_factory=dict)
    settled_in: dict[int, str] = field(default_factory=dict)  # transaction, by task
    lines: list[Line] = field(default_factory=list)
    update: tuple[bytes, bytes] | None = None
    coordinator_removed: bool = False
    is_void: bool = False
    finalised: bool = False
    finalised_at: int = 0

    def seal(self, stage: Stage, question: int, seat: int = 0) -> Seal | None:
        """The seal of one seat, if it was made."""
        return self.seals.get((stage, question, seat))

    @property
    def proposal(self) -> Seal | None:
        """The proposed update: the coordinator's, or that of a gatherer in its place."""
        return next((s for s in self.seals.values() if s.stage == Stage.UPDATE), None)

    def seals_of(self, stage: Stage, question: int) -> list[Seal]:
        """All seals of one question in one stage, by seat."""
        found = [s for s in self.seals.values() if s.stage == stage and s.question == question]
        return sorted(found, key=lambda s: s.seat)


@dataclass(slots=True)
class JobHistory:
    """One job."""

    job: JobId
    requester: Address
    escrow: int
    terms: Terms
    posted_at: int
    state_root: bytes
    state_cid: bytes
    waits_until: int = 0  # deadline of the latest wait for a round
    coordinator_provider: Address = ZERO_ADDRESS
    stopped: bool = False
    ending: Ending = Ending.NONE
    ended_at: int = 0  # block
    roster: list[tuple[Slot, Address]] = field(default_factory=list)
    members: Counter[Address] = field(default_factory=Counter)  # slots that each has ever had
    slashed: set[Address] = field(default_factory=set)  # everybody who lost bond here
    rounds: list[RoundHistory] = field(default_factory=list)
    forgotten: int = 0  # rounds before the first of `rounds`
    states: list[bytes] = field(default_factory=list)  # CID digest of every final state
    updates: int = 0
    lines: list[Line] = field(default_factory=list)

    def round(self, number: int) -> RoundHistory:
        """A round by its number; a forgotten one is a programmer's error."""
        assert number >= self.forgotten, f"round {number} is forgotten"
        return self.rounds[number - self.forgotten]

    def forget(self, remember: int) -> None:
        """Let go of the oldest finished rounds, but for so many."""
        gone = max(len(self.rounds) - remember, 0)
        del self.rounds[:gone]
        self.forgotten += gone

    @property
    def open_round(self) -> RoundHistory | None:
        """The round under way, or None between rounds and after the end."""
        if self.rounds and not self.rounds[-1].finalised:
            return self.rounds[-1]
        return None

    def drop_slot(self, slot: Slot) -> None:
        """Swap-and-pop, as the contract does it: the order decides who gets which task."""
        index = next(i for i, (known, _) in enumerate(self.roster) if known == slot)
        last = self.roster.pop()
        if index < len(self.roster):
            self.roster[index] = last


@dataclass(slots=True)
class VerifierRosters:
    """The verifier slots of every epoch."""

    current: list[tuple[Slot, Address]] = field(default_factory=list)
    since: int = 0  # first epoch that `current` is the roster of
    members: set[Address] = field(default_factory=set)  # everybody who ever had a slot
    past: list[tuple[int, Roster]] = field(default_factory=list)  # (first epoch, roster)

    def enrol(self, slot: Slot, provider: Address, from_epoch: int) -> None:
        """Append a slot."""
        self._turn(from_epoch)
        self.current.append((slot, provider))
        self.members.add(provider)

    def retire(self, slot: Slot, from_epoch: int) -> None:
        """Swap-and-pop a slot."""
        self._turn(from_epoch)
        index = next(i for i, (known, _) in enumerate(self.current) if known == slot)
        last = self.current.pop()
        if index < len(self.current):
            self.current[index] = last

    def at(self, epoch: int) -> Roster:
        """The roster that rounds opened in `epoch` use."""
        if epoch >= self.since:
            return tuple(self.current)
        for from_epoch, roster in reversed(self.past):
            if from_epoch <= epoch:
                return roster
        return ()

    def _turn(self, epoch: int) -> None:
        """Keep the roster as it was, once per epoch that changes it."""
        if epoch > self.since:
            self.past.append((self.since, tuple(self.current)))
            self.since = epoch

    def forget(self, before: int) -> None:
        """Let go of the rosters that no round opened in epoch `before` or later uses."""
        while len(self.past) > 1 and self.past[1][0] <= before:
            del self.past[0]


@dataclass(slots=True)
class MarketHistory:
    """Everything that happened on one market.

    With `remember`, a job keeps that many of its finished rounds, and none after its end, and the
    verifiers' rosters are those that these rounds use: enough for a role, which acts on open
    rounds, and as much memory after a year as after a day.
    """

    jobs: dict[JobId, JobHistory] = field(default_factory=dict)
    verifiers: VerifierRosters = field(default_factory=VerifierRosters)
    money: Counter[tuple[Address, str, Reason]] = field(default_factory=Counter)  # all lines so far
    remember: int | None = None

    def forget(self, past: JobHistory) -> None:
        """Let go of a job's oldest finished rounds, and of all of them when it is over."""
        if self.remember is not None:
            past.forget(self.remember if past.ending == Ending.NONE else 0)

    def forget_rosters(self) -> None:
        """Let go of the verifiers' rosters of epochs in which no round in mind was opened."""
        if self.remember is not None and len(self.verifiers.past) > 1:
            epochs = [round_.epoch for past in self.jobs.values() for round_ in past.rounds]
            # The newest of the past rosters may be that of the epoch at hand.
            self.verifiers.forget(min([*epochs, self.verifiers.past[-1][0]]))


def terms_of(raw: Mapping[str, Any]) -> Terms:
    """Terms from the decoded struct of JobPosted (names as in Solidity)."""
    w = raw["windows"]
    return Terms(
        manifest=bytes(raw["manifest"]),
        genesis_root=bytes(raw["genesisRoot"]),
        genesis_cid=bytes(raw["genesisCid"]),
        coordinator=Address(raw["coordinator"]),
        rounds=raw["rounds"],
        tasks=raw["tasks"],
        checks=raw["checks"],
        gatherers=raw["gatherers"],
        panel=raw["panel"],
        max_failed_rounds=raw["maxFailedRounds"],
        min_workers=raw["minWorkers"],
        min_verifiers=raw["minVerifiers"],
        reward=raw["reward"],
        fee=raw["fee"],
        update_fee=raw["updateFee"],
        bond=raw["bond"],
        coordinator_bond=raw["coordinatorBond"],
        windows=Windows(
            waiting=w["waiting"],
            commit=w["commit"],
            check=w["check"],
            reveal=w["reveal"],
            gather=w["gather"],
            verdict_seal=w["verdictSeal"],
            verdict_open=w["verdictOpen"],
            update=w["update"],
            update_check=w["updateCheck"],
            update_open=w["updateOpen"],
            update_challenge=w["updateChallenge"],
        ),
    )


def outcome_of(raw: Mapping[str, Any]) -> Outcome:
    """Outcome from its decoded struct."""
    return Outcome(root=bytes(raw["root"]), cid=bytes(raw["cid"]), h=bytes(raw["h"]))
