"""Leaving: what keeps a role that was told to end, and when it may go.

A role that leaves takes on nothing new and finishes what it has begun. It may go once nothing is
left whose dropping would cost it money, and nothing that it sent is still under way.
INVARIANT: what is begun ends with the round it belongs to, so whoever leaves gets away.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from protocol.role.actions import OPENS_IN
from protocol.role.sight import JobSight, Sight
from protocol.rules.history import RoundHistory
from protocol.rules.records import Phase, Stage

Unfinished = Callable[[Sight], Sequence[str]]


def unopened(sight: Sight) -> list[str]:
    """The seals of this role that it can still open, each job's as one phrase ("to open ...")."""
    found = []
    for js in sight.jobs.values():
        record = js.open_round
        if record is None:
            continue
        seals = sum(1 for _ in _unopened(sight, js, record))
        if seals:
            found.append(f"to open {counted(seals, 'seal')} of {place(record, js)}")
    return found


def _unopened(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Stage]:
    # Before Reveal somebody may yet answer them.
    released = js.round.drawn & ~js.round.answered if js.round.phase == Phase.REVEAL else 0
    for seal in record.seals.values():
        if seal.provider != sight.provider or seal.outcome is not None:
            continue
        # Without the opening there is nothing to wait for; another role of the owner may have it.
        opening = sight.openings.get(
            (js.past.job, record.number, seal.stage, seal.question, seal.seat)
        )
        if opening is None or opening.hash != seal.hash or js.round.phase > OPENS_IN[seal.stage]:
            continue
        if seal.stage == Stage.WORK and released >> seal.question & 1:
            continue
        yield seal.stage


def place(record: RoundHistory, js: JobSight) -> str:
    """A round in words."""
    return f"job {js.past.job}, round {record.number}"


def counted(number: int, thing: str) -> str:
    """A number of things in words."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


@dataclass(slots=True)
class Departure:
    """One role's way out, from the first signal on.

    A transaction counts as over when the block that holds it has been read, too: what it did may be
    one more thing to finish.
    """

    unfinished: Unfinished = unopened
    _quiet: int | None = field(default=None)  # newest block when nothing was under way

    def hush(self, under_way: int, head: int) -> None:
        """Hear how many transactions are under way at block `head`."""
        if under_way:
            self.stir()
        elif self._quiet is None:
            self._quiet = head

    def stir(self) -> None:
        """Hear that something may have been sent."""
        self._quiet = None

    def awaits(self, sight: Sight) -> str:
        """What is still to be waited for, in words; empty where the role may go."""
        reasons = list(self.unfinished(sight))
        if self._quiet is None or sight.read < self._quiet:
            reasons.append("for its transactions to be mined")
        return "; ".join(reasons)
