"""Cases of GEMM: block edges, scales, ties, extreme digits, outliers, batches, non-finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from tests.conformance.operands import (
    EDGES,
    SPECIALS,
    Case,
    Operand,
    drawn,
    filled,
    floats,
)
from tests.conformance.reference.binary32 import ONE, rne32
from tests.conformance.reference.contraction import gemm

BITS = (14, 16)
BLOCKS = (256, 512, 1024)
SCALES = {
    "subnormal": (0, 0),
    "tiny": (0, 12),
    "products turn subnormal": (55, 72),
    "ordinary": (110, 135),
    "products overflow": (150, 254),
    "all": (0, 254),
}


def cases() -> Iterator[Case]:
    for bits in BITS:
        for kb in BLOCKS:
            yield from _block_edges(bits, kb)
            yield _ascending_blocks(bits, kb)
        for name, (low, high) in SCALES.items():
            a, b = drawn(31, low, high, 5, 40), drawn(32, low, high, 40, 4)
            yield _case(f"scale {name}", a, b, bits)
            a, b = drawn(33, low, high, 3, 1), drawn(34, low, high, 1, 5)
            yield _case(f"K=1, scale {name}", a, b, bits)
        yield from _digits(bits)
        yield from _ties(bits)
        yield from _outliers(bits)
        yield from _shapes(bits)
    yield _case("K=1, edges by edges", floats(EDGES, len(EDGES), 1), floats(EDGES, 1, len(EDGES)))
    yield _case("K=2, edges by edges", _paired(), _paired(turned=True))
    yield from _non_finite()


def _case(name: str, a: Operand, b: Operand, bits: int = 14, kb: int = 1024) -> Case:
    attributes = {"b": bits, "kb": kb}
    return Case(
        f"gemm/b={bits} kb={kb} {name}", "gemm", [a, b], product_of(a, b, attributes), attributes
    )


def product_of(a: Operand, b: Operand, attributes: dict[str, Any]) -> Callable[[], list[Operand]]:
    """The reference's product of two matrices, or of two batches of them."""

    def compute() -> list[Operand]:
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        batches = a.shape[0] if len(a.shape) == 3 else 1
        values: list[int] = []
        for z in range(batches):
            left = [a.values[(z * m + i) * k : (z * m + i + 1) * k] for i in range(m)]
            right = [b.values[(z * k + i) * n : (z * k + i + 1) * n] for i in range(k)]
            for row in gemm(left, right, attributes["b"], attributes["kb"], n):
                values += row
        return [floats(values, *a.shape[:-1], n)]

    return compute


def _block_edges(bits: int, kb: int) -> Iterator[Case]:
    for k in (0, 1, 2, kb - 1, kb, kb + 1, 2 * kb + 1):
        a, b = drawn(k + 41, 112, 130, 3, k), drawn(k + 42, 112, 130, k, 4)
        yield _case(f"K={k}", a, b, bits, kb)


def _ascending_blocks(bits: int, kb: int) -> Case:
    """1, 2^24 and -2^24 in three blocks: ascending folds lose the 1 to a tie."""
    a = filled(0, 1, 2 * kb + 1, edits=[(0, ONE), (kb, 0x4B800000), (2 * kb, 0xCB800000)])
    return _case("blocks fold in ascending order", a, filled(ONE, 2 * kb + 1, 1), bits, kb)


def _digits(bits: int) -> Iterator[Case]:
    """Values whose digits are the largest: where saturating integer units go wrong."""
    for numerator, denominator in ((8128, 8192), (32639, 32768), (32640, 32768), (1, 1)):
        value = rne32(Fraction(numerator, denominator))
        for sign in (0, 0x80000000):
            a, b = filled(value, 16, 1024), filled(value | sign, 1024, 16)
            yield _case(f"digits of {numerator}/{denominator}, sign {sign >> 31}", a, b, bits)
    below = filled(0x3F7FFFFF, 2, 300)
    yield _case("operands round up to the next power of two", below, filled(ONE, 300, 2), bits)


def _ties(bits: int) -> Iterator[Case]:
    """Odd multiples of half a unit of q beside a row maximum of 1."""
    half = 127 - (bits - 2) - 1 << 23  # 2^-(b-1)
    odd = [rne32(Fraction(2 * n + 1, 1 << bits - 1)) for n in range(32)]
    a = floats([v for x in odd for v in (ONE, x)], 32, 2)
    b = floats([0, ONE, ONE, ONE], 2, 2)
    yield _case("operands tie, to even", a, b, bits)
    # Products whose sums tie in binary32: 2^24 + 1 units, and one unit beside.
    left = floats([ONE, half, ONE, 0x80000000 | half], 2, 2)
    yield _case("sums tie", left, floats([ONE, ONE, half, 0x80000000 | half], 2, 2), bits)


def _outliers(bits: int) -> Iterator[Case]:
    for factor, value in ((300, 0x43960000), (2**40, 0x53800000)):
        a = drawn(51, 118, 127, 4, 300, edits=[(7, value), (300 + 299, value | 0x80000000)])
        b = drawn(52, 118, 127, 300, 3, edits=[(0, value)])
        yield _case(f"an outlier of {factor}", a, b, bits, 256)
    cancelling = filled(ONE, 2, 64, edits=[(i, 0xBF800000) for i in range(0, 128, 2)])
    yield _case("sums cancel to +0", cancelling, filled(ONE, 64, 2), bits)
    minus = filled(0x80000000, 2, 8)
    yield _case("zeros of both signs", minus, filled(ONE, 8, 2), bits)
    tiny = filled(0x80000001, 2, 3)
    yield _case("results vanish to +0", tiny, filled(1, 3, 2), bits)


def _shapes(bits: int) -> Iterator[Case]:
    """Ragged sizes and batches."""
    for m, k, n in ((1, 64, 64), (17, 33, 19), (33, 70, 1), (2, 1025, 3), (64, 16, 16)):
        a, b = drawn(m + 61, 115, 129, m, k), drawn(n + 62, 115, 129, k, n)
        yield _case(f"{m}x{k}x{n}", a, b, bits)
    for z, m, k, n in ((3, 5, 17, 6), (2, 3, 1, 4), (2, 3, 0, 4), (0, 3, 4, 5), (4, 1, 300, 1)):
        a, b = drawn(63, 115, 129, z, m, k), drawn(64, 115, 129, z, k, n)
        yield _case(f"batch {z}x{m}x{k}x{n}", a, b, bits, 256)
    for m, k, n in ((0, 4, 3), (2, 4, 0), (2, 0, 3)):
        yield _case(f"empty {m}x{k}x{n}", filled(ONE, m, k), filled(ONE, k, n), bits)


def _paired(turned: bool = False) -> Operand:
    """Each edge beside the next one, so that a block has two scales to choose from."""
    following = [*EDGES[1:], EDGES[0]]
    if turned:
        return floats([*EDGES, *following], 2, len(EDGES))
    return floats([v for pair in zip(EDGES, following, strict=True) for v in pair], len(EDGES), 2)


def _non_finite() -> Iterator[Case]:
    for value in SPECIALS:
        for k in (1, 3, 300):
            good, bad = filled(ONE, 2, k), filled(ONE, k, 2, edits=[(2 * k - 1, value)])
            yield _case(f"K={k}, right operand {value:08x}", good, bad)
            bad = filled(ONE, 2, k, edits=[(2 * k - 1, value)])
            yield _case(f"K={k}, left operand {value:08x}", bad, filled(ONE, k, 2))
            beside_zero = filled(0, k, 2)
            yield _case(f"K={k}, {value:08x} times zero", bad, beside_zero, 16, 256)
