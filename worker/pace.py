"""Whether one more task can be computed in time, by what was measured here: pure.

A claim is a promise, and costs half the pay and the place in the job where it is not kept. The
observing half is in `survey.py`. INVARIANT: what nobody has measured is never promised.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from protocol.rules.records import JobId
from worker.capacity import USABLE

Question = tuple[JobId, int, int]
"""Job, round and number of a question of this market."""
Speeds = Mapping[str, float]
"""Seconds that each consumer takes for one task, by its name; empty where nothing is known."""


@dataclass(frozen=True, slots=True)
class Debt:
    """Something that one of the consumers has to compute, and the block by which."""

    deadline: int
    speeds: Speeds


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast blocks come and tasks are computed here, and what the consumers owe."""

    block_seconds: float | None = None
    speeds: Mapping[JobId, Speeds] = field(default_factory=dict)
    owed: Mapping[Question, Debt] = field(default_factory=dict)
    elsewhere: tuple[Debt, ...] = ()  # what is owed to jobs of other markets

    def debt(self, job: JobId, deadline: int) -> Debt:
        """One more task of a job."""
        return Debt(deadline, self.speeds.get(job, {}))

    def debts(self, to_do: Mapping[Question, int]) -> list[Debt]:
        """All that is owed, with what is to do by these blocks and may not have been asked yet."""
        asked = {key: self.debt(key[0], deadline) for key, deadline in to_do.items()}
        return [*{**asked, **self.owed}.values(), *self.elsewhere]

    def holds(self, debts: Iterable[Debt], begin: int) -> bool:
        """Whether all of this can be computed in time by those who begin with it in a block.

        Consumers take what is due first as soon as they are free; what is late already takes its
        time, and cannot be later.
        """
        if self.block_seconds is None:
            return False
        free: dict[str, float] = {}
        for debt in sorted(debts, key=lambda one: one.deadline):
            if not debt.speeds:
                return False
            # Of two that are free, the slower one may be the one that takes it.
            name = min(debt.speeds, key=lambda n: (free.get(n, 0.0), -debt.speeds[n], n))
            free[name] = free.get(name, 0.0) + debt.speeds[name]
            left = (debt.deadline - begin) * self.block_seconds
            if debt.deadline > begin and free[name] > USABLE * left:
                return False
        return True
