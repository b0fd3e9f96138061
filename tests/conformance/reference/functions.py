"""The real functions rounded once to binary32, by mpmath with hundreds of bits."""

from __future__ import annotations

from fractions import Fraction

import mpmath

from tests.conformance.reference.binary32 import (
    INFINITY,
    MINUS_INFINITY,
    NAN,
    ONE,
    is_finite,
    is_nan,
    rne32,
    value,
)

NAMES = ("exp", "log", "tanh", "erf", "sin", "cos", "log1p", "expm1")

MINUS_ONE = 0xBF800000
_AT_INFINITY = {
    "exp": (INFINITY, 0),
    "log": (INFINITY, NAN),
    "tanh": (ONE, MINUS_ONE),
    "erf": (ONE, MINUS_ONE),
    "sin": (NAN, NAN),
    "cos": (NAN, NAN),
    "log1p": (INFINITY, NAN),
    "expm1": (INFINITY, MINUS_ONE),
}
_SINGULARITY = {"log": 0, "log1p": -1}


def correctly_rounded(name: str, bits: int) -> int:
    """The pattern of RNE32(name(x)), special values included, NaN as 0x7fc00000."""
    if not is_finite(bits):
        return NAN if is_nan(bits) else _AT_INFINITY[name][bits >> 31]
    x = value(bits)
    if x == 0 and name not in ("exp", "log", "cos"):
        return bits  # odd around zero, the sign of zero kept
    if name in _SINGULARITY and x <= _SINGULARITY[name]:
        return MINUS_INFINITY if x == _SINGULARITY[name] else NAN
    if name in ("exp", "expm1") and abs(x) > 200:
        return _AT_INFINITY[name][bits >> 31]
    # Arguments reach 2^128 and results 2^-149: sine and cosine need both ranges in one number.
    with mpmath.workprec(700 if name in ("sin", "cos") else 400):
        return rne32(_fraction(getattr(mpmath, name)(mpmath.mpf(x.numerator) / x.denominator)))


def _fraction(v: mpmath.mpf) -> Fraction:
    sign, significand, exponent, _ = v._mpf_
    magnitude = Fraction(int(significand)) * Fraction(2) ** int(exponent)
    return -magnitude if sign else magnitude


def exp(x: int) -> int:
    return correctly_rounded("exp", x)


def log(x: int) -> int:
    return correctly_rounded("log", x)


def tanh(x: int) -> int:
    return correctly_rounded("tanh", x)


def erf(x: int) -> int:
    return correctly_rounded("erf", x)
