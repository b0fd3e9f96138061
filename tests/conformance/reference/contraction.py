"""GEMM by the profile: quantised rows, integer dot products, one rounding per block."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from tests.conformance.reference.binary32 import (
    INFINITY,
    MAGNITUDE,
    NonFiniteError,
    add,
    is_finite,
    mul,
    positive_zero,
    rne32,
)

Matrix = Sequence[Sequence[int]]


def gemm(
    a: Matrix, b: Matrix, bits: int = 14, kb: int = 1024, columns: int | None = None
) -> list[list[int]]:
    """`a` [M][K] . `b` [K][N] by the profile; `columns` is N where K = 0 hides it."""
    length = len(b)
    if length == 0:
        return [[0] * (columns or 0) for _ in a]
    turned = list(zip(*b, strict=True))
    if length == 1:
        return [[_single(row[0], column[0]) for column in turned] for row in a]
    blocks = [(start, min(start + kb, length)) for start in range(0, length, kb)]
    left = [[_quantise(row[s:e], bits) for s, e in blocks] for row in a]
    right = [[_quantise(column[s:e], bits) for s, e in blocks] for column in turned]
    return [[_fold(row, column, bits) for column in right] for row in left]


def _single(x: int, y: int) -> int:
    """K = 1: one product per element, no quantisation."""
    if not (is_finite(x) and is_finite(y)):
        raise NonFiniteError
    return positive_zero(mul(x, y))


Block = tuple[list[int], int]


def _fold(row: Sequence[Block], column: Sequence[Block], bits: int) -> int:
    total: int | None = None
    for (qa, ea), (qb, eb) in zip(row, column, strict=True):
        s = sum(x * y for x, y in zip(qa, qb, strict=True))
        c = positive_zero(rne32(s * Fraction(2) ** (ea + eb - 254 - 2 * (bits - 2))))
        total = c if total is None else add(total, c)
    assert total is not None
    return total


def _quantise(run: Sequence[int], bits: int) -> Block:
    m = max(x & MAGNITUDE for x in run)
    if m >= INFINITY:
        raise NonFiniteError
    exponent = max(1, (m + (0x10100 if bits == 16 else 0)) >> 23)
    return [scaled(x, bits - 2 - (exponent - 127)) for x in run], exponent


def scaled(bits: int, shift: int) -> int:
    """round_half_even(value(bits) * 2^shift), in integers because GEMMs ask for it often."""
    exponent, significand = bits >> 23 & 0xFF, bits & 0x7FFFFF
    significand |= 0x800000 if exponent else 0
    right = 150 - max(exponent, 1) - shift
    if right <= 0:
        whole = significand << -right
    else:
        whole, rest = significand >> right, significand & (1 << right) - 1
        half = 1 << right - 1
        whole += rest > half or (rest == half and whole & 1)
    return -whole if bits >> 31 else whole
