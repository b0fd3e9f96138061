"""Exact sums, extrema and order, over flat runs of patterns."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from tests.conformance.reference.binary32 import (
    INFINITY,
    MAGNITUDE,
    NonFiniteError,
    div,
    is_nan,
    order_key,
    positive_zero,
    rne32,
    sqrt,
)
from tests.conformance.reference.binary32 import mul as product
from tests.conformance.reference.contraction import scaled

RUN = 1 << 21
"""Longest run of one exact sum."""


def sum_(run: Sequence[int]) -> int:
    """Exact sum of one run; longer than 2^21, run by run."""
    if len(run) > RUN:
        return sum_([sum_(run[s : s + RUN]) for s in range(0, len(run), RUN)])
    if not run:
        return 0
    m = max(x & MAGNITUDE for x in run)
    if m >= INFINITY:
        raise NonFiniteError
    exponent = max(1, m >> 23)
    total = sum(scaled(x, 167 - exponent) for x in run)
    return rne32(Fraction(2) ** (exponent - 167) * total)  # an integer 0 has no sign: +0


def mean(run: Sequence[int]) -> int:
    return div(sum_(run), rne32(len(run)))


def norm(run: Sequence[int]) -> int:
    return sqrt(sum_([product(x, x) for x in run]))


def index_sum(index: Sequence[int], source: Sequence[Sequence[int]], rows: int) -> list[list[int]]:
    """Exact sums of the source rows that hit each row; +0 where nothing hits."""
    columns = len(source[0]) if source else 0
    hits: list[list[int]] = [[] for _ in range(rows)]
    for position, row in enumerate(index):
        hits[row].append(position)
    return [[sum_([source[p][c] for p in hit]) for c in range(columns)] for hit in hits]


def amax(run: Sequence[int]) -> int:
    return positive_zero(max(_ordered(run), key=order_key))


def amin(run: Sequence[int]) -> int:
    return positive_zero(min(_ordered(run), key=order_key))


def argmax(run: Sequence[int]) -> int:
    keys = [order_key(x) for x in _ordered(run)]
    return keys.index(max(keys))


def argmin(run: Sequence[int]) -> int:
    keys = [order_key(x) for x in _ordered(run)]
    return keys.index(min(keys))


def sort(run: Sequence[int], descending: bool = False) -> tuple[list[int], list[int]]:
    """Values and their indices; equal values stay in index order either way."""
    sign = -1 if descending else 1
    order = sorted(range(len(run)), key=lambda i: (sign * order_key(run[i]), i))
    _ordered(run)
    return [run[i] for i in order], order


def topk(run: Sequence[int], k: int, largest: bool = True) -> tuple[list[int], list[int]]:
    values, indices = sort(run, descending=largest)
    return values[:k], indices[:k]


def _ordered(run: Sequence[int]) -> Sequence[int]:
    if any(is_nan(x) for x in run):
        raise NonFiniteError
    return run
