"""Cases of one-operation-per-element primitives, functions and conversions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

from tests.conformance.hard import hard_arguments
from tests.conformance.operands import (
    EDGES,
    SPECIALS,
    Case,
    Operand,
    floats,
    integers,
    pattern,
)
from tests.conformance.reference import binary32 as b32
from tests.conformance.reference import functions

BINARY: dict[str, Callable[[int, int], int]] = {
    "add": b32.add,
    "sub": b32.sub,
    "mul": b32.mul,
    "div": b32.div,
    "max2": b32.max2,
    "min2": b32.min2,
}
UNARY: dict[str, Callable[[int], int]] = {
    "sqrt": b32.sqrt,
    "neg": b32.neg,
    "abs": b32.abs_,
    "floor": b32.floor,
    "ceil": b32.ceil,
    "trunc": b32.trunc,
    "round": b32.round_,
    "relu": b32.relu,
}
SCALARS = (3.0, 0.1, -1e-3, 1e30, 2.0**-140, 16777217.0, 0.0, -0.0)
"""Host scalars: most are no binary32 and must be rounded to one first."""


def cases() -> Iterator[Case]:
    for name, function in BINARY.items():
        yield from _binary(name, function)
    for name, function in UNARY.items():
        patterns = [*EDGES, *SPECIALS, *_halves(), *(pattern(7, i, 0, 254) for i in range(300))]
        yield _unary(f"{name}/edges and all scales", name, function, patterns)
        yield _unary(f"{name}/nothing", name, function, [])
    yield from _squares()
    yield from _clamps()
    yield from _scalars()
    for name in functions.NAMES:
        yield from _function(name)
    yield from _conversions()


def _binary(name: str, function: Callable[[int, int], int]) -> Iterator[Case]:
    groups = {
        "edges by edges": list(product(EDGES, EDGES)),
        "infinities and NaN": [
            *product(SPECIALS, (*SPECIALS, 0, 0x80000000, 1, 0x3F800000, 0xFF7FFFFF)),
            *product((0, 0x80000000, 1, 0x3F800000, 0xFF7FFFFF), SPECIALS),
        ],
        "all scales": [(pattern(1, i, 0, 254), pattern(2, i, 0, 254)) for i in range(300)],
        "near scales": [(pattern(3, i, 120, 130), pattern(4, i, 120, 130)) for i in range(300)],
        "results turn subnormal": [
            (pattern(5, i, 0, 70), pattern(6, i, 50, 140)) for i in range(300)
        ],
        "ties": _ties(name),
    }
    for group, pairs in groups.items():
        x, y = (floats(column) for column in zip(*pairs, strict=True))
        want = [function(a, b) for a, b in pairs]
        yield Case(f"{name}/{group}", name, [x, y], _floats(want))
    yield Case(f"{name}/nothing", name, [floats([]), floats([])], _floats([]))


def _ties(name: str) -> list[tuple[int, int]]:
    """Operands whose exact results lie half-way between two neighbours, and one unit beside."""
    found = []
    for fraction in (0, 1, 2, 0x2AAAAA, 0x7FFFFE, 0x7FFFFF):
        big = 0x4B800000 | fraction  # its unit is 2: adding 1 is a tie
        found += [(big, y) for y in (0x3F800000, 0xBF800000, 0x3F800001, 0x3F7FFFFF)]
    if name in ("mul", "div"):
        odd = range(0x3F800001, 0x3F800001 + 64, 2)
        found += [(x, 0x3FC00000) for x in odd]  # an odd significand times 1.5
        found += [(x, 0x00C00000) for x in odd]
        found += [(n, 0x3F000000) for n in (1, 2, 3, 5, 7, 0x7FFFFF, 0x80000003, 0x800001)]
        found += [(n, 0x40000000) for n in (1, 2, 3, 5, 7, 0x7FFFFF, 0x80000003, 0x800001)]
    return found


def _halves() -> list[int]:
    """n + 1/2 for small n of both signs: where rounding to whole numbers ties."""
    return [b32.rne32(b32.Fraction(2 * n + 1, 2)) for n in range(-9, 9)]


def _squares() -> Iterator[Case]:
    """Square roots of squares, and of their neighbours."""
    roots = [pattern(11, i, 70, 180) & b32.MAGNITUDE for i in range(100)]
    exact = [r & 0xFFFFF000 for r in roots]  # twelve bits: the square is exact
    near = [b32.mul(r, r) + d for r in (*roots, *exact) for d in (-1, 0, 1)]
    yield _unary("sqrt/squares and their neighbours", "sqrt", b32.sqrt, near)


def _clamps() -> Iterator[Case]:
    x = [*EDGES, *SPECIALS, *(pattern(12, i, 120, 132) for i in range(64))]
    for low, high in ((-1.0, 1.0), (0.0, 6.0), (-0.0, 0.0), (2.0, -2.0), (0.1, 1e30)):
        bounds = b32.of_scalar(low), b32.of_scalar(high)
        want = [b32.clamp(v, *bounds) for v in x]
        attributes = {"low": low.hex(), "high": high.hex()}
        name = f"clamp/{low} to {high}"
        yield Case(name, "clamp", [floats(x)], _floats(want), attributes)


def _scalars() -> Iterator[Case]:
    x = [*EDGES, *(pattern(13, i, 1, 254) for i in range(64))]
    for name in ("add", "sub", "mul", "div"):
        for number in SCALARS:
            y = b32.of_scalar(number)
            want = [BINARY[name](v, y) for v in x]
            attributes = {"scalar": number.hex()}
            title = f"{name}_scalar/{number}"
            yield Case(title, f"{name}_scalar", [floats(x)], _floats(want), attributes)


def _function(name: str) -> Iterator[Case]:
    rounded = partial(functions.correctly_rounded, name)
    hard = hard_arguments(name)
    near = sorted({a + d & 0xFFFFFFFF for a in hard for d in (-1, 0, 1)})
    groups = {
        "hard cases and their neighbours": near,
        "edges and specials": [*EDGES, *SPECIALS],
        "all scales": [pattern(21, i, 0, 254) for i in range(300)],
        "ordinary": [pattern(22, i, 110, 134) for i in range(500)],
    }
    if name in ("exp", "expm1"):
        groups["results turn subnormal"] = [0xC2AEAC00 + 4099 * i for i in range(520)]
    groups["nothing"] = []
    for group, patterns in groups.items():
        yield _unary(f"{name}/{group}", name, rounded, patterns)


def _conversions() -> Iterator[Case]:
    small = [*EDGES[:24], *_halves(), 0xFF800000, 0xBF7FFFFF, 0x437F0000, 0x437FFFFF, 0x43000000]
    limits = {
        "int64": [0x5EFFFFFF, 0xDF000000, 0x4B800001],
        "int32": [0x4EFFFFFF, 0xCF000000, 0x4B800001],
        "int8": [0x42FFFFFF, 0xC3000000, 0xC300FFFF],
        "uint8": [0x437FFFFF, 0xBF7FFFFF, 0x80000000],
        "bool": [*SPECIALS],
    }
    outside = {
        "int64": [0x5F000000, 0xDF000001, b32.INFINITY, b32.NAN],
        "int32": [0x4F000000, 0xCF000001, b32.INFINITY, b32.NAN],
        "int8": [0x43000000, 0xC3010000, b32.INFINITY, b32.NAN],
        "uint8": [0x43800000, 0xBF800000, b32.INFINITY, b32.NAN],
    }
    for dtype, extra in limits.items():
        x = [v for v in (*small, *extra) if _fits(v, dtype)]
        want = integers([b32.to_int(v, dtype) for v in x], dtype=dtype)
        yield _conversion(f"to_int/{dtype}", x, dtype, want)
    for dtype, patterns in outside.items():
        for v in patterns:
            name = f"to_int/{v:08x} does not fit {dtype}"
            yield Case(name, "to_int", [floats([v])], _integer(v, dtype), {"type": dtype})
    whole = [0, 1, -1, 2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**53 + 2**29 + 1, 2**62 + 2**38 + 1]
    whole += [2**63 - 1, -(2**63), 2**40 + 2**16, 2**40 + 2**16 + 1]
    want = _floats([b32.from_int(n) for n in whole])
    yield Case("from_int/int64", "from_int", [integers(whole)], want)
    narrow = [n for n in whole if abs(n) < 2**31] + [2**31 - 1, -(2**31)]
    want = _floats([b32.from_int(n) for n in narrow])
    yield Case("from_int/int32", "from_int", [integers(narrow, dtype="int32")], want)


def _fits(v: int, dtype: str) -> bool:
    try:
        b32.to_int(v, dtype)
    except b32.NonFiniteError:
        return False
    return True


def _integer(v: int, dtype: str) -> Callable[[], list[Operand]]:
    return lambda: [integers([b32.to_int(v, dtype)], dtype=dtype)]


def _conversion(name: str, x: list[int], dtype: str, want: Operand) -> Case:
    return Case(name, "to_int", [floats(x)], lambda: [want], {"type": dtype})


def _unary(name: str, operation: str, function: Callable[[int], int], patterns: list[int]) -> Case:
    return Case(name, operation, [floats(patterns)], _floats([function(v) for v in patterns]))


def _floats(want: list[int]) -> Callable[[], list[Operand]]:
    return lambda: [floats(want)]
