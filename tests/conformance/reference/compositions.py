"""The profile's fixed formulas, over patterns and rows of patterns: one rounding at every sign."""

from __future__ import annotations

from collections.abc import Sequence

from tests.conformance.reference.binary32 import (
    HALF,
    ONE,
    TWO,
    add,
    div,
    is_nan,
    mul,
    neg,
    rne32,
    sqrt,
    sub,
    value,
)
from tests.conformance.reference.functions import erf, exp, log, tanh
from tests.conformance.reference.reductions import amax, sum_

CUBIC, CUBIC_3 = 0x3D372713, 0x3E095D4F
SQRT_2_OVER_PI, SQRT_HALF, INV_SQRT_2PI = 0x3F4C422A, 0x3F3504F3, 0x3ECC422A

Row = Sequence[int]


# Activations ------------------------------------------------------------------------------------


def sigmoid(x: int) -> int:
    return div(ONE, add(ONE, exp(neg(x))))


def sigmoid_backward(g: int, y: int) -> int:
    return mul(g, mul(sub(ONE, y), y))


def silu(x: int) -> int:
    return div(x, add(ONE, exp(neg(x))))


def silu_backward(g: int, x: int) -> int:
    s = sigmoid(x)
    return mul(g, mul(s, add(ONE, mul(x, sub(ONE, s)))))


def tanh_backward(g: int, y: int) -> int:
    return mul(g, sub(ONE, mul(y, y)))


def power(x: int, exponent: int) -> int:
    """Whole powers but 0."""
    result = x
    for _ in range(abs(exponent) - 1):
        result = mul(result, x)
    return result if exponent > 0 else div(ONE, result)


def _inner_tanh(x: int) -> int:
    return tanh(mul(SQRT_2_OVER_PI, add(x, mul(CUBIC, mul(mul(x, x), x)))))


def gelu_tanh(x: int) -> int:
    return mul(mul(HALF, x), add(ONE, _inner_tanh(x)))


def gelu_tanh_backward(g: int, x: int) -> int:
    t = _inner_tanh(x)
    slope = mul(SQRT_2_OVER_PI, add(ONE, mul(CUBIC_3, mul(x, x))))
    left = mul(HALF, add(ONE, t))
    right = mul(mul(HALF, x), mul(sub(ONE, mul(t, t)), slope))
    return mul(g, add(left, right))


def gelu_erf(x: int) -> int:
    return mul(mul(HALF, x), add(ONE, erf(mul(x, SQRT_HALF))))


def gelu_erf_backward(g: int, x: int) -> int:
    density = mul(INV_SQRT_2PI, exp(mul(neg(HALF), mul(x, x))))
    return mul(g, add(mul(HALF, add(ONE, erf(mul(x, SQRT_HALF)))), mul(x, density)))


def leaky_relu(x: int, slope: int) -> int:
    return x if _positive(x) else mul(x, slope)


def leaky_relu_backward(g: int, x: int, slope: int) -> int:
    return g if _positive(x) else mul(g, slope)


def _positive(x: int) -> bool:
    return not (x >> 31 or x == 0 or is_nan(x))


# Softmax ----------------------------------------------------------------------------------------


def softmax(row: Row) -> list[int]:
    largest = amax(row)
    e = [exp(sub(x, largest)) for x in row]
    total = sum_(e)
    return [div(x, total) for x in e]


def softmax_backward(grad: Row, y: Row) -> list[int]:
    u = [mul(g, p) for g, p in zip(grad, y, strict=True)]
    total = sum_(u)
    return [sub(a, mul(p, total)) for a, p in zip(u, y, strict=True)]


def log_softmax(row: Row) -> list[int]:
    largest = amax(row)
    z = [sub(x, largest) for x in row]
    total = log(sum_([exp(x) for x in z]))
    return [sub(x, total) for x in z]


def log_softmax_backward(grad: Row, y: Row) -> list[int]:
    total = sum_(grad)
    return [sub(g, mul(exp(p), total)) for g, p in zip(grad, y, strict=True)]


# Normalisation ----------------------------------------------------------------------------------


def layer_norm_parts(
    row: Row, weight: Row | None, bias: Row | None, eps: int
) -> tuple[list[int], int, int]:
    """(output, mean, r)."""
    n = rne32(len(row))
    mu = div(sum_(row), n)
    c = [sub(x, mu) for x in row]
    r = div(ONE, sqrt(add(div(sum_([mul(x, x) for x in c]), n), eps)))
    y = [mul(x, r) for x in c]
    if weight is not None:
        y = [mul(x, w) for x, w in zip(y, weight, strict=True)]
    if bias is not None:
        y = [add(x, b) for x, b in zip(y, bias, strict=True)]
    return y, mu, r


def layer_norm(row: Row, weight: Row | None, bias: Row | None, eps: int) -> list[int]:
    return layer_norm_parts(row, weight, bias, eps)[0]


def layer_norm_backward(
    grad: Sequence[Row], x: Sequence[Row], mu: Row, r: Row, weight: Row | None
) -> tuple[list[list[int]], list[int], list[int]]:
    """Gradients of input, weight and bias."""
    dx, products = [], []
    for g, row, m, scale in zip(grad, x, mu, r, strict=True):
        n = rne32(len(row))
        h = [mul(sub(v, m), scale) for v in row]
        u = [mul(a, w) for a, w in zip(g, weight, strict=True)] if weight is not None else list(g)
        first = div(sum_(u), n)
        second = div(sum_([mul(a, b) for a, b in zip(u, h, strict=True)]), n)
        dx.append(
            [mul(sub(sub(a, first), mul(b, second)), scale) for a, b in zip(u, h, strict=True)]
        )
        products.append([mul(a, b) for a, b in zip(g, h, strict=True)])
    dw = [sum_(column) for column in zip(*products, strict=True)]
    db = [sum_(column) for column in zip(*grad, strict=True)]
    return dx, dw, db


def rms_norm(row: Row, weight: Row | None, eps: int) -> list[int]:
    squares = sum_([mul(x, x) for x in row])
    r = div(ONE, sqrt(add(div(squares, rne32(len(row))), eps)))
    y = [mul(x, r) for x in row]
    return y if weight is None else [mul(x, w) for x, w in zip(y, weight, strict=True)]


# Losses -----------------------------------------------------------------------------------------


def nll_loss(logp: Sequence[Row], target: Sequence[int], reduction: str, ignore: int) -> list[int]:
    picked = [0 if t == ignore else neg(row[t]) for row, t in zip(logp, target, strict=True)]
    if reduction == "none":
        return picked
    total = sum_(picked)
    return [div(total, _counted(target, ignore)) if reduction == "mean" else total]


def nll_loss_backward(
    grad: Row, classes: int, target: Sequence[int], reduction: str, ignore: int
) -> list[list[int]]:
    """`grad` holds one pattern, or one per row for reduction 'none'."""
    out = [[0] * classes for _ in target]
    for i, t in enumerate(target):
        if t == ignore:
            continue
        g = grad[i] if reduction == "none" else grad[0]
        out[i][t] = neg(div(g, _counted(target, ignore)) if reduction == "mean" else g)
    return out


def _counted(target: Sequence[int], ignore: int) -> int:
    return rne32(sum(t != ignore for t in target))


def mse_loss(x: Row, y: Row, reduction: str) -> list[int]:
    squares = [mul(sub(a, b), sub(a, b)) for a, b in zip(x, y, strict=True)]
    if reduction == "none":
        return squares
    total = sum_(squares)
    return [div(total, rne32(len(x))) if reduction == "mean" else total]


def mse_loss_backward(grad: Row, x: Row, y: Row, reduction: str) -> list[int]:
    g = grad[0]
    if reduction == "mean":
        g = div(g, rne32(len(x)))
    return [mul(g, mul(TWO, sub(a, b))) for a, b in zip(x, y, strict=True)]


def histogram(run: Row, bins: int, low: int, high: int) -> list[int]:
    """How many elements fall into each bin, as binary32; others are not counted."""
    counts = [0] * bins
    for x in run:
        if not value(low) <= value(x) <= value(high):
            continue
        place = div(mul(sub(x, low), rne32(bins)), sub(high, low))
        counts[min(value(place).__trunc__(), bins - 1)] += 1
    return [rne32(n) for n in counts]
