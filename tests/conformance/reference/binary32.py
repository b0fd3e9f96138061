"""Binary32 bit patterns and their elementwise operations, in integers and fractions.

A value is its pattern, an unsigned int. Every operation decodes its operands to fractions, computes
the exact result and rounds once; NaN results are 7fc00000.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isqrt

INFINITY = 0x7F800000
MINUS_INFINITY = 0xFF800000
NAN = 0x7FC00000
ONE = 0x3F800000
HALF = 0x3F000000
TWO = 0x40000000
SIGN = 0x80000000
MAGNITUDE = 0x7FFFFFFF


class NonFiniteError(Exception):
    """The reference's NONFINITE."""


def is_finite(bits: int) -> bool:
    return bits & INFINITY != INFINITY


def is_nan(bits: int) -> bool:
    return bits & MAGNITUDE > INFINITY


def is_zero(bits: int) -> bool:
    return bits & MAGNITUDE == 0


def value(bits: int) -> Fraction:
    """Exact value of a finite pattern."""
    assert is_finite(bits)
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    significand = fraction if exponent == 0 else fraction | 0x800000
    magnitude = Fraction(significand) * Fraction(2) ** (max(exponent, 1) - 150)
    return -magnitude if bits >> 31 else magnitude


def order_key(bits: int) -> int:
    """An integer that orders all patterns but NaN by value; both zeros are equal."""
    magnitude = bits & MAGNITUDE
    return -magnitude if bits >> 31 else magnitude


def round_half_even(x: Fraction) -> int:
    floor = x.numerator // x.denominator
    rest = x - floor
    if rest == Fraction(1, 2):
        return floor + (floor & 1)
    return floor + (rest > Fraction(1, 2))


def rne32(x: Fraction | int, negative_zero: bool = False) -> int:
    """Round to binary32: nearest, ties to even, subnormals kept, overflow to infinity."""
    x = Fraction(x)
    sign = SIGN if x < 0 or (x == 0 and negative_zero) else 0
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


def positive_zero(bits: int) -> int:
    """The pattern itself, but +0 for either zero."""
    return 0 if is_zero(bits) else bits


def of_scalar(scalar: float) -> int:
    """A host's binary64 scalar (or integer) rounded to binary32."""
    if scalar != scalar:
        return NAN
    if scalar in (float("inf"), float("-inf")):
        return INFINITY if scalar > 0 else MINUS_INFINITY
    return rne32(Fraction(scalar), negative_zero=str(scalar).startswith("-"))


# Arithmetic -------------------------------------------------------------------------------------


def add(x: int, y: int) -> int:
    if not (is_finite(x) and is_finite(y)):
        infinities = {b for b in (x, y) if not is_finite(b)}
        clash = len(infinities) > 1 or any(b & 0x7FFFFF for b in infinities)
        return NAN if clash else infinities.pop()
    both_negative = bool(x >> 31 and y >> 31)
    return rne32(value(x) + value(y), negative_zero=both_negative and value(x) == value(y) == 0)


def sub(x: int, y: int) -> int:
    return add(x, y ^ SIGN)


def mul(x: int, y: int) -> int:
    sign = (x ^ y) & SIGN
    if is_nan(x) or is_nan(y):
        return NAN
    if not (is_finite(x) and is_finite(y)):
        return NAN if is_zero(x) or is_zero(y) else sign | INFINITY
    return rne32(value(x) * value(y), negative_zero=bool(sign))


def div(x: int, y: int) -> int:
    sign = (x ^ y) & SIGN
    if is_nan(x) or is_nan(y):
        return NAN
    if not is_finite(x):
        return sign | INFINITY if is_finite(y) else NAN
    if not is_finite(y):
        return sign
    if is_zero(y):
        return NAN if is_zero(x) else sign | INFINITY
    return rne32(value(x) / value(y), negative_zero=bool(sign))


def sqrt(x: int) -> int:
    """Rounded square root: an integer root with 60 spare bits and a sticky bit."""
    if is_zero(x) or x == INFINITY:
        return x
    if is_nan(x) or x >> 31:
        return NAN
    scaled = value(x) * Fraction(2) ** 400
    assert scaled.denominator == 1, "every binary32 is a multiple of 2^-149"
    root = isqrt(scaled.numerator)
    sticky = root * root != scaled.numerator
    return rne32(Fraction(2 * root + sticky) / Fraction(2) ** 201)


def neg(x: int) -> int:
    return NAN if is_nan(x) else x ^ SIGN


def abs_(x: int) -> int:
    return NAN if is_nan(x) else x & MAGNITUDE


def sign(x: int) -> int:
    """-1, +0 or 1; of a NaN +0, as it is neither above nor below zero."""
    if is_nan(x) or is_zero(x):
        return 0
    return ONE | (x & SIGN)


def _to_whole(x: int, rule: Callable[[Fraction], int]) -> int:
    if is_nan(x):
        return NAN
    if not is_finite(x):
        return x
    return rne32(rule(value(x)), negative_zero=bool(x >> 31))


def floor(x: int) -> int:
    return _to_whole(x, lambda v: v.__floor__())


def ceil(x: int) -> int:
    return _to_whole(x, lambda v: v.__ceil__())


def trunc(x: int) -> int:
    return _to_whole(x, lambda v: v.__trunc__())


def round_(x: int) -> int:
    return _to_whole(x, round_half_even)


# Order ------------------------------------------------------------------------------------------


def max2(x: int, y: int) -> int:
    if is_nan(x) or is_nan(y):
        return NAN
    return positive_zero(x if order_key(x) >= order_key(y) else y)


def min2(x: int, y: int) -> int:
    if is_nan(x) or is_nan(y):
        return NAN
    return positive_zero(x if order_key(x) <= order_key(y) else y)


def clamp(x: int, low: int, high: int) -> int:
    return min2(max2(x, low), high)


def relu(x: int) -> int:
    return max2(x, 0)


# Conversion -------------------------------------------------------------------------------------

RANGES = {
    "int64": (-(1 << 63), 1 << 63),
    "int32": (-(1 << 31), 1 << 31),
    "int8": (-(1 << 7), 1 << 7),
    "uint8": (0, 1 << 8),
}
"""Smallest value, and the first one above the largest."""


def to_int(x: int, dtype: str) -> int:
    """Truncate to an integer type; -Inf becomes its smallest value, to bool: x is not 0."""
    if dtype == "bool":
        return int(not is_zero(x))
    low, high = RANGES[dtype]
    if x == MINUS_INFINITY:
        return low
    if not is_finite(x):
        raise NonFiniteError
    whole = value(x).__trunc__()
    if not low <= whole < high:
        raise NonFiniteError
    return whole


def from_int(n: int) -> int:
    """An integer as binary32, nearest, ties to even."""
    return rne32(n)
