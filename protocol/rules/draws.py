"""Chance: which slot gets which task, which tasks are checked, who sits where.

All draws are views over a beacon value: a Feistel permutation of small integers, keyed by keccak,
that the contract evaluates again in the transaction that uses it. Mirrors
contracts/src/libraries/Draws.sol.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

from eth_hash.auto import keccak

from protocol.rules.records import Address, Stage
from protocol.rules.sealing import words

MAX_TRIES = 16
"""Candidates looked at for one seat before it stays empty."""


def permute(seed: bytes, index: int, size: int) -> int:
    """Image of `index` under the permutation of range(size) that `seed` selects."""
    assert 0 <= index < size
    half = 1
    while 4**half < size:
        half += 1
    mask = (1 << half) - 1
    x = index
    while True:
        left, right = x >> half, x & mask
        for turn in range(4):
            mixed = int.from_bytes(keccak(words(seed, turn, right)), "big") & mask
            left, right = right, left ^ mixed
        x = left << half | right
        if x < size:
            return x


def draw_seed(beacon: bytes, purpose: Stage, question: int) -> bytes:
    """Separates the draws that share one beacon."""
    return keccak(words(beacon, int(purpose), question))


def roster_index_of_task(seed: bytes, task: int, workers: int) -> int:
    """Index in the worker roster, as fixed at the opening, of the slot that owns `task`."""
    return permute(seed, task % workers, workers)


@lru_cache(maxsize=256)
def task_order(seed: bytes, tasks: int, workers: int) -> tuple[int, ...]:
    """The same for all tasks of a round; whoever looks again does not draw again."""
    return tuple(roster_index_of_task(seed, task, workers) for task in range(tasks))


def check_seat_of_task(draw: bytes, task: int, tasks: int, checks: int) -> int | None:
    """Check seat that examines `task`, or None where the task is not drawn."""
    seat = permute(draw, task, tasks)
    return seat if seat < checks else None


def drawn_tasks(draw: bytes, sealed: int, tasks: int, checks: int) -> int:
    """Bitmap of the sealed tasks that are to be checked."""
    drawn = 0
    for task in range(tasks):
        if sealed >> task & 1 and permute(draw, task, tasks) < checks:
            drawn |= 1 << task
    return drawn


def candidates(seed: bytes, seat: int, seats: int, verifiers: int) -> Iterator[int]:
    """Roster positions that may take `seat`, in order of their claim to it."""
    for turn in range(MAX_TRIES):
        index = seat + turn * seats
        if index >= verifiers:
            return
        yield permute(seed, index, verifiers)


def is_picked(beacon: bytes, operator: Address, question: int, share: float) -> bool:
    """Whether `operator` looks at `question` of its own accord: a `share`, spread by chance."""
    mixed = int.from_bytes(keccak(words(beacon, operator, question)), "big")
    return mixed < int(share * 2**256)


def holders(
    seed: bytes,
    seat: int,
    seats: int,
    verifiers: int,
    eligible: Callable[[int], bool],
    turns: int = 1,
) -> list[int]:
    """Roster positions of the first `turns` eligible candidates of `seat`; it may stay empty."""
    found = (p for p in candidates(seed, seat, seats, verifiers) if eligible(p))
    return list(islice(found, turns))
