"""Hand-made rounds: a case in small integers, turned into the history that its events would leave.

An answer is 0 where nobody sealed, 1 where a seal was never opened, 2 for NONFINITE, 3 and above
for finite outcomes. Providers are small integers too, so that a case is a page of numbers which
Python and Solidity read alike.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from protocol.rules import draws
from protocol.rules.history import RoundHistory, Seal
from protocol.rules.records import (
    ZERO32,
    Address,
    JobId,
    Outcome,
    Phase,
    Slot,
    Stage,
    Terms,
    Windows,
)
from protocol.rules.sealing import NONFINITE_ROOT

NOTHING, UNOPENED, NONFINITE, TRUE, FALSE, OTHER = range(6)
JOB = JobId(1)
COORDINATOR = 3000
"""Providers: workers from 1000, checkers from 2000, coordinator 3000, gatherers from 4000 ..."""


def address(number: int) -> Address:
    """A provider's address; decimal digits only, so that its checksum is itself."""
    return Address(f"0x{number:040d}")


def digest(*parts: object) -> bytes:
    """32 bytes that mean nothing but differ."""
    return sha256(repr(parts).encode()).digest()


def make_terms(**changes: object) -> Terms:
    """Terms that meet every bound exactly, unless changed."""
    values: dict[str, object] = {
        "manifest": digest("manifest"),
        "genesis_root": digest("genesis root"),
        "genesis_cid": digest("genesis cid"),
        "coordinator": address(9000),
        "rounds": 2,
        "tasks": 4,
        "checks": 4,
        "gatherers": 3,
        "panel": 3,
        "max_failed_rounds": 2,
        "min_workers": 1,
        "reward": 101,
        "fee": 111,
        "update_fee": 51,
        "windows": Windows(*([20] * 11)),
    }
    values.update(changes)
    w, f, u, t, j, n, g = (
        int(str(values[name]))
        for name in ("reward", "fee", "update_fee", "tasks", "checks", "panel", "gatherers")
    )
    values.setdefault("min_verifiers", j + g + n)
    values.setdefault("bond", max(-(-3 * w * t // j) + n * f, n * u))
    values.setdefault("coordinator_bond", t * w + n * u)
    return Terms(**values)  # type: ignore[arg-type]  # values of mixed types, named one by one


def outcome(question: int, answer: int) -> Outcome | None:
    """What an answer shows when it is opened."""
    if answer < NONFINITE:
        return None
    h = digest("h", question, answer)
    if answer == NONFINITE:
        return Outcome(NONFINITE_ROOT, ZERO32, h)
    return Outcome(digest("root", question, answer), digest("cid", question, answer), h)


@dataclass(frozen=True)
class TaskCase:
    """What happened to one task; `held` has one bit per gatherer seat."""

    work: int = TRUE
    check: int = NOTHING
    challenge: int = NOTHING
    panel: tuple[int, ...] = ()
    held: int = 0b111


@dataclass(frozen=True)
class UpdateCase:
    """What happened to the update; `checks` are the G gatherer seats, then the two drawn."""

    proposal: int = NOTHING
    checks: tuple[int, ...] = ()
    challenge: int = NOTHING
    panel: tuple[int, ...] = ()


@dataclass(frozen=True)
class RoundCase:
    """One round; `posted` has one bit per gatherer seat that posted its bitmap."""

    terms: Terms
    tasks: tuple[TaskCase, ...]
    update: UpdateCase = field(default_factory=UpdateCase)
    posted: int = 0b111
    draw: bytes = digest("draw")
    gatherers: tuple[int, ...] = (4000, 4001, 4002)

    @property
    def sealed(self) -> int:
        """Bitmap of the sealed tasks."""
        return sum(1 << i for i, case in enumerate(self.tasks) if case.work != NOTHING)

    @property
    def drawn(self) -> int:
        """Bitmap of the tasks that are checked."""
        return draws.drawn_tasks(self.draw, self.sealed, self.terms.tasks, self.terms.checks)


def new_round(
    number: int = 0, workers: list[tuple[Slot, Address]] | None = None, verifiers: int = 0
) -> RoundHistory:
    """An open round without any seal."""
    return RoundHistory(
        number=number,
        state_root=digest("state root"),
        state_cid=digest("state cid"),
        workers=workers or [],
        verifiers=verifiers,
        epoch=1,
        opened_at=100,
        coordinator_provider=address(COORDINATOR),
    )


def add_seal(
    round_: RoundHistory, stage: Stage, question: int, seat: int, provider: int, answer: int
) -> None:
    """Record a seal and, where the answer says so, its opening."""
    if answer == NOTHING:
        return
    round_.seals[stage, question, seat] = Seal(
        stage=stage,
        question=question,
        seat=seat,
        provider=address(provider),
        operator=address(provider + 50_000),
        hash=digest(stage, question, seat),
        block=101,
        transaction="0x",
        outcome=outcome(question, answer),
    )


def play(case: RoundCase) -> RoundHistory:
    """The history that a round's events would leave."""
    assert len(case.tasks) == case.terms.tasks
    round_ = new_round(verifiers=case.terms.min_verifiers)
    round_.beacons[Phase.DRAW] = case.draw
    for task, deeds in enumerate(case.tasks):
        add_seal(round_, Stage.WORK, task, 0, 1000 + task, deeds.work)
        add_seal(round_, Stage.CHECK, task, 0, 2000 + task, deeds.check)
        add_seal(round_, Stage.CHALLENGE, task, 0, 5000 + task, deeds.challenge)
        for seat, answer in enumerate(deeds.panel):
            add_seal(round_, Stage.PANEL, task, seat, 6000 + 100 * task + seat, answer)
    for seat, provider in enumerate(case.gatherers):
        if case.posted >> seat & 1:
            bitmap = sum(1 << t for t, c in enumerate(case.tasks) if c.held >> seat & 1)
            round_.gathered[seat] = (address(provider), bitmap)
    _play_update(case, round_)
    return round_


def _play_update(case: RoundCase, round_: RoundHistory) -> None:
    question, deeds = case.terms.update_question, case.update
    add_seal(round_, Stage.UPDATE, question, 0, COORDINATOR, deeds.proposal)
    for seat, answer in enumerate(deeds.checks):
        provider = case.gatherers[seat] if seat < len(case.gatherers) else 7000 + seat
        add_seal(round_, Stage.UPDATE_CHECK, question, seat, provider, answer)
    add_seal(round_, Stage.UPDATE_CHALLENGE, question, 0, 7500, deeds.challenge)
    for seat, answer in enumerate(deeds.panel):
        add_seal(round_, Stage.UPDATE_PANEL, question, seat, 8000 + seat, answer)
