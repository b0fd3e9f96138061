"""What goes wrong, and when: an endless stream of disturbances that a seed decides alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """Ways in which a machine, a network or a chain fails."""

    KILL = "kill"  # SIGKILL; the process comes back after `seconds`
    PAUSE = "pause"  # SIGSTOP for `seconds`, then SIGCONT
    CUT = "cut"  # nobody reaches the chain, or the store, for `seconds`
    REORG = "reorg"  # the newest `depth` blocks are replaced by empty ones


CHAIN, STORE = "chain", "store"
WEIGHTS = {Kind.KILL: 7, Kind.PAUSE: 6, Kind.CUT: 4, Kind.REORG: 3}
DEEPEST = 8
"""Blocks that a reorganisation replaces, at most."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One thing that goes wrong, `after` seconds from the one before."""

    after: float
    kind: Kind
    target: str
    seconds: float = 0.0
    depth: int = 0

    def __str__(self) -> str:
        if self.kind is Kind.REORG:
            return f"reorg of {self.depth} blocks"
        return f"{self.kind} {self.target} for {self.seconds:.1f} s"


def disturbances(seed: int, roles: Sequence[str]) -> Iterator[Disturbance]:
    """The plan of one run; `roles` are the processes that may be killed."""
    dice = Random(seed)
    while True:
        [kind] = dice.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
        after = dice.uniform(12.0, 24.0)
        match kind:
            case Kind.KILL:
                # The store keeps what it acknowledged; a chain that forgets its past is no chain.
                target = dice.choice([*roles, STORE])
                yield Disturbance(after, kind, target, dice.uniform(0.0, 5.0))
            case Kind.PAUSE:
                target = dice.choice([*roles, STORE, CHAIN])
                yield Disturbance(after, kind, target, dice.uniform(1.0, 10.0))
            case Kind.CUT:
                target = dice.choice([CHAIN, STORE])
                yield Disturbance(after, kind, target, dice.uniform(1.0, 20.0))
            case Kind.REORG:
                yield Disturbance(after, kind, CHAIN, depth=dice.randint(1, DEEPEST))
