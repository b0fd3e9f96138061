"""Formulas of ordinary models beside the transformer's: activations and losses per element.

An activation has a gradient: what becomes of `g`. A loss gives its value and the gradient by x for
the factor `h`.
"""

from __future__ import annotations

from tests.conformance.reference.binary32 import (
    HALF,
    ONE,
    SIGN,
    abs_,
    add,
    div,
    is_nan,
    max2,
    min2,
    mul,
    neg,
    order_key,
    rne32,
    sub,
)
from tests.conformance.reference.compositions import sigmoid
from tests.conformance.reference.functions import correctly_rounded, exp, log, tanh

THREE, SIX, MINUS_THREE = 0x40400000, 0x40C00000, 0xC0400000


def _expm1(x: int) -> int:
    return correctly_rounded("expm1", x)


def _log1p(x: int) -> int:
    return correctly_rounded("log1p", x)


def less(x: int, y: int) -> bool:
    """x < y; false beside a NaN."""
    return not (is_nan(x) or is_nan(y)) and order_key(x) < order_key(y)


def at_most(x: int, y: int) -> bool:
    """x <= y; false beside a NaN."""
    return not (is_nan(x) or is_nan(y)) and order_key(x) <= order_key(y)


def hardtanh(x: int, low: int, high: int) -> int:
    return min2(max2(x, low), high)


def hardtanh_gradient(g: int, x: int, low: int, high: int) -> int:
    return g if less(low, x) and less(x, high) else 0


def _ramp(x: int) -> int:
    return min2(max2(add(x, THREE), 0), SIX)


def hardsigmoid(x: int) -> int:
    return div(_ramp(x), SIX)


def hardsigmoid_gradient(g: int, x: int) -> int:
    return div(g, SIX) if less(MINUS_THREE, x) and less(x, THREE) else 0


def hardswish(x: int) -> int:
    return div(mul(x, _ramp(x)), SIX)


def hardswish_gradient(g: int, x: int) -> int:
    if at_most(x, MINUS_THREE):
        return 0
    if at_most(THREE, x):
        return g
    return mul(g, add(div(x, THREE), HALF))


def elu(x: int, alpha: int) -> int:
    return x if less(0, x) else mul(_expm1(x), alpha)


def elu_gradient(g: int, x: int, alpha: int) -> int:
    return g if less(0, x) else mul(g, mul(exp(x), alpha))


def softplus(x: int, beta: int, threshold: int) -> int:
    scaled = mul(x, beta)
    return x if less(threshold, scaled) else div(_log1p(exp(scaled)), beta)


def softplus_gradient(g: int, x: int, beta: int, threshold: int) -> int:
    scaled = mul(x, beta)
    return g if less(threshold, scaled) else mul(g, sigmoid(scaled))


def logsigmoid(x: int) -> int:
    return sub(min2(x, 0), _log1p(exp(neg(abs_(x)))))


def logsigmoid_gradient(g: int, x: int) -> int:
    return mul(g, sigmoid(neg(x)))


def mish(x: int) -> int:
    return mul(x, tanh(_log1p(exp(x))))


def mish_gradient(g: int, x: int) -> int:
    t = tanh(_log1p(exp(x)))
    return mul(g, add(t, mul(x, mul(sigmoid(x), sub(ONE, mul(t, t))))))


# Losses -----------------------------------------------------------------------------------------


def huber(x: int, y: int, h: int, delta: int) -> tuple[int, int]:
    d = sub(x, y)
    if at_most(abs_(d), delta):
        loss = mul(HALF, mul(d, d))
    else:
        loss = mul(delta, sub(abs_(d), mul(HALF, delta)))
    return loss, mul(h, min2(max2(d, delta ^ SIGN), delta))


def smooth_l1(x: int, y: int, h: int, beta: int) -> tuple[int, int]:
    d = sub(x, y)
    if less(abs_(d), beta):
        return div(mul(HALF, mul(d, d)), beta), mul(h, div(d, beta))
    return sub(abs_(d), mul(HALF, beta)), h if less(0, d) else neg(h)


def binary_cross_entropy(x: int, y: int, h: int) -> tuple[int, int]:
    floor, smallest = rne32(-100), 0x2B8CBCCC
    left = mul(y, max2(log(x), floor))
    right = mul(sub(ONE, y), max2(_log1p(neg(x)), floor))
    width = max2(mul(sub(ONE, x), x), smallest)
    return neg(add(left, right)), mul(h, div(sub(x, y), width))


# Along a row ------------------------------------------------------------------------------------


def cumsum(row: list[int]) -> list[int]:
    found = row[:1]
    for x in row[1:]:
        found.append(add(found[-1], x))
    return found


def cumprod(row: list[int]) -> list[int]:
    found = row[:1]
    for x in row[1:]:
        found.append(mul(found[-1], x))
    return found
