"""The numeric profile once more, slowly, in integers and fractions: the judge of the engine.

Values are binary32 bit patterns (unsigned ints). Every function decodes them to fractions, computes
the exact result and rounds once. Nothing here is shared with the engine, not even a formula's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

Matrix = Sequence[Sequence[int]]

INFINITY = 0x7F800000
NAN = 0x7FC00000
ONE = 0x3F800000
RUN = 1 << 21


class NonFiniteError(Exception):
    """The reference's NONFINITE."""


def is_finite(bits: int) -> bool:
    return bits & INFINITY != INFINITY


def value(bits: int) -> Fraction:
    """Exact value of a finite pattern."""
    assert is_finite(bits)
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    significand = fraction if exponent == 0 else fraction | 0x800000
    magnitude = Fraction(significand) * Fraction(2) ** (max(exponent, 1) - 150)
    return -magnitude if bits >> 31 else magnitude


def round_half_even(x: Fraction) -> int:
    floor = x.numerator // x.denominator
    rest = x - floor
    if rest == Fraction(1, 2):
        return floor + (floor & 1)
    return floor + (rest > Fraction(1, 2))


def rne32(x: Fraction, negative_zero: bool = False) -> int:
    """Round to binary32: nearest, ties to even, subnormals kept, overflow to infinity."""
    sign = 0x80000000 if x < 0 or (x == 0 and negative_zero) else 0
    x = abs(x)
    if x == 0:
        return sign
    # The exponent of the unit in the last place: never below the subnormals' 2^-149.
    lead = x.numerator.bit_length() - x.denominator.bit_length()
    if x < Fraction(2) ** lead:
        lead -= 1
    ulp = max(lead - 23, -149)
    units = round_half_even(x / Fraction(2) ** ulp)
    if units == 1 << 24:
        units, ulp = units >> 1, ulp + 1
    if ulp > 104:
        return sign | INFINITY
    if units < 1 << 23:
        return sign | units  # subnormal, or zero
    return sign | (ulp + 150) << 23 | (units & 0x7FFFFF)


def add(x: int, y: int) -> int:
    if not (is_finite(x) and is_finite(y)):
        infinities = {b for b in (x, y) if not is_finite(b)}
        clash = len(infinities) > 1 or any(b & 0x7FFFFF for b in infinities)
        return NAN if clash else infinities.pop()
    both_negative = bool(x >> 31 and y >> 31)
    return rne32(value(x) + value(y), negative_zero=both_negative and value(x) == value(y) == 0)


def sub(x: int, y: int) -> int:
    return add(x, y ^ 0x80000000)


def mul(x: int, y: int) -> int:
    return rne32(value(x) * value(y), negative_zero=bool((x ^ y) >> 31))


def div(x: int, y: int) -> int:
    return rne32(value(x) / value(y), negative_zero=bool((x ^ y) >> 31))


def sqrt(x: int) -> int:
    """Rounded square root: an integer root with 60 spare bits and a sticky bit."""
    v = value(x)
    if v == 0:
        return x
    scaled = v * Fraction(2) ** 400
    assert scaled.denominator == 1, "every binary32 is a multiple of 2^-149"
    root = isqrt(scaled.numerator)
    sticky = root * root != scaled.numerator
    return rne32(Fraction(2 * root + sticky) / Fraction(2) ** 201)


def gemm(a: Matrix, b: Matrix, bits: int = 14, kb: int = 1024) -> list[list[int]]:
    """`a` [M][K] . `b` [K][N] by the profile."""
    columns = list(zip(*b, strict=True)) if b else []
    length = len(b)
    result = []
    blocks = [(start, min(start + kb, length)) for start in range(0, length, kb)]
    right = [[_quantise(c[s:e], bits) for s, e in blocks] for c in columns]
    for row in a:
        left = [_quantise(row[s:e], bits) for s, e in blocks]
        line = []
        for column in right:
            total = 0
            for n, ((qa, ea), (qb, eb)) in enumerate(zip(left, column, strict=True)):
                s = sum(x * y for x, y in zip(qa, qb, strict=True))
                c = rne32(Fraction(s) * Fraction(2) ** (ea + eb - 254 - 2 * (bits - 2)))
                c = c if c & 0x7FFFFFFF else 0
                total = c if n == 0 else add(total, c)
            line.append(total)
        result.append(line)
    return result


def _quantise(run: Sequence[int], bits: int) -> tuple[list[int], int]:
    m = max(x & 0x7FFFFFFF for x in run)
    if m >= INFINITY:
        raise NonFiniteError
    exponent = max(1, (m + (0x10100 if bits == 16 else 0)) >> 23)
    return [_scaled(x, bits - 2 - (exponent - 127)) for x in run], exponent


def _scaled(bits: int, shift: int) -> int:
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


def sum_(run: Sequence[int]) -> int:
    """Exact sum of one run; longer than 2^21, run by run."""
    if len(run) > RUN:
        return sum_([sum_(run[s : s + RUN]) for s in range(0, len(run), RUN)])
    if not run:
        return 0
    m = max(x & 0x7FFFFFFF for x in run)
    if m >= INFINITY:
        raise NonFiniteError
    grid = Fraction(2) ** (max(1, m >> 23) - 167)
    total = sum(_scaled(x, 167 - max(1, m >> 23)) for x in run)
    result = rne32(grid * total)
    return 0 if result == 0x80000000 else result


def exp(x: int) -> int:
    """Correctly rounded exponential by a Taylor series in 320-bit fixed point."""
    v = value(x)
    if v > 200:
        return INFINITY
    if v < -200:
        return 0
    halvings = 16
    one = 1 << 320
    argument = round_half_even(v / (1 << halvings) * one)
    total, term, n = one, one, 0
    while term:
        n += 1
        term = round_half_even(Fraction(term * argument, one * n))
        total += term
    for _ in range(halvings):
        total = total * total >> 320
    return rne32(Fraction(total, one))


def softmax(row: Sequence[int]) -> list[int]:
    largest = max(row, key=value)
    e = [exp(sub(x, largest)) for x in row]
    total = sum_(e)
    return [div(x, total) for x in e]


def layer_norm(
    row: Sequence[int], weight: Sequence[int], bias: Sequence[int], eps: int
) -> list[int]:
    n = rne32(Fraction(len(row)))
    mu = div(sum_(row), n)
    c = [sub(x, mu) for x in row]
    r = div(ONE, sqrt(add(div(sum_([mul(x, x) for x in c]), n), eps)))
    return [add(mul(mul(x, r), w), b) for x, w, b in zip(c, weight, bias, strict=True)]


def adamw(p: int, g: int, m: int, v: int, row: Sequence[int]) -> tuple[int, int, int]:
    """`row`: decay, b1, b1 complement, b2, b2 complement, step size, unbias, eps as bits."""
    d, b1, b1c, b2, b2c, s, u, eps = row
    m = add(mul(b1, m), mul(b1c, g))
    v = add(mul(b2, v), mul(b2c, mul(g, g)))
    step = mul(s, div(m, add(mul(sqrt(v), u), eps)))
    return sub(mul(p, d), step), m, v


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x32-10 of one counter."""
    c, k, word = list(counter), list(key), 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & word, p0 >> 32 ^ c[3] ^ k[1], p0 & word]
        k = [k[0] + 0x9E3779B9 & word, k[1] + 0xBB67AE85 & word]
    return tuple(c)
