"""What whoever makes blocks can bend of a draw, in numbers.

    python -m benchmarks.economics_beacons

A cheat is caught where its task is drawn, with chance p. Whoever can look at k draws and choose
escapes unless all k catch it: p falls to p**k. The tables say how large k is, for whom.
"""

import sys
from collections.abc import Iterable
from fractions import Fraction
from math import ceil, log

from benchmarks.economics_model import seated

STAKES = tuple(Fraction(n, 100) for n in (1, 5, 10, 20, 30))
CHECKED = (Fraction(1, 64), Fraction(1, 10), Fraction(1, 2))
DELAYS = (2, 4, 8, 32)
WINDOW = 50  # blocks in which the coalition may close the phase before
SLOT_SECONDS = 12
HASHES_PER_SECOND = 10**7  # one graphics card, keccak of a header


def tail(stake: Fraction, length: int) -> Fraction:
    """Chance that exactly the last `length` proposers before the target belong to the coalition."""
    return stake**length * (1 - stake)


def bent(p: Fraction, stake: Fraction, longest: int = 10) -> Fraction:
    """p as the last revealers leave it: with k own slots in the tail they choose of 2**k draws.

    An upper bound for them: a withheld block moves the target to a later slot, whose value hangs on
    proposers that have not revealed yet, and costs the block's reward. Longer tails count as an
    escape.
    """
    return sum((tail(stake, k) * p ** (2**k) for k in range(longest)), Fraction(0))


def timed(stake: Fraction, length: int, blocks: int) -> Fraction:
    """Chance that some of `blocks` places to end a phase at has `length` own slots in its tail."""
    return 1 - (1 - stake**length) ** blocks


def ahead(stake: Fraction, delay: int) -> Fraction:
    """Chance that whoever closes a phase knows prevrandao already: every proposer until then."""
    return stake ** (delay - 1)


def grinding(chance: Fraction) -> int:
    """Block hashes to try until an event of this chance comes up, half of the times."""
    return ceil(log(0.5) / log(1 - float(chance)))


def main() -> int:
    """Print the tables."""
    _print(
        "prevrandao: check chance p as the last revealers leave it (honest: p)",
        ["stake", *(f"p = {float(p):.4f}" for p in CHECKED)],
        ([f"{float(q):.2f}", *(f"{float(bent(p, q)):.4f}" for p in CHECKED)] for q in STAKES),
    )
    _print(
        f"prevrandao: an own tail of k slots at some of {WINDOW} blocks, proposers known ahead",
        ["stake", *(f"k = {k}" for k in (1, 2, 3, 4))],
        (
            [f"{float(q):.2f}", *(f"{float(timed(q, k, WINDOW)):.4f}" for k in (1, 2, 3, 4))]
            for q in STAKES
        ),
    )
    _print(
        "prevrandao: known to whoever closes the phase",
        ["stake", *(f"delay {d}" for d in DELAYS)],
        ([f"{float(q):.2f}", *(f"{float(ahead(q, d)):.1e}" for d in DELAYS)] for q in STAKES),
    )
    slot = SLOT_SECONDS * HASHES_PER_SECOND
    wishes = [
        ("one task undrawn, p = 1/10", Fraction(9, 10)),
        ("ten tasks undrawn, p = 1/10", Fraction(9, 10) ** 10),
        ("6 checks all with friends, v = 0.3 of 60", seated(60, 18, 6)[6]),
        ("a panel of 5 with 3 friends, v = 0.1 of 60", sum(seated(60, 6, 5)[3:], Fraction(0))),
    ]
    _print(
        f"block hash: hashes to try, of {slot:.1e} in a slot of {SLOT_SECONDS} s",
        ["wish", "chance", "hashes", "within a slot"],
        (
            [name, f"{float(c):.1e}", f"{grinding(c)}" if c else "-", _slots(c, slot)]
            for name, c in wishes
        ),
    )
    return 0


def _slots(chance: Fraction, slot: int) -> str:
    if not chance:
        return "impossible"
    return "yes" if grinding(chance) <= slot else "no"


def _print(title: str, head: list[str], rows: Iterable[list[str]]) -> None:
    print(f"\n{title}")
    for row in (head, *rows):
        print("  " + row[0].ljust(46) + "".join(cell.rjust(15) for cell in row[1:]))


if __name__ == "__main__":
    sys.exit(main())
