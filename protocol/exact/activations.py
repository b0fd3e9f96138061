"""Handlers of activation functions and their gradients, each a formula over primitives.

A kink belongs to the side that docs/numerics.md names; its gradient there is one of the two slopes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.exact.compositions import sigmoid
from protocol.exact.elementwise import Operand, binary32, clamp, div, max2, min2, mul
from protocol.exact.functions import exp, expm1, log1p, tanh
from protocol.exact.handlers import Engine, Refused


def leaky_relu(_: Engine, x: Tensor, negative_slope: float = 0.01) -> Tensor:
    require_float(x)
    return torch.where(x > 0, x, mul(x, negative_slope))


def leaky_relu_backward(
    _: Engine, grad: Tensor, x: Tensor, negative_slope: float, _is_result: bool
) -> Tensor:
    return torch.where(x > 0, grad, mul(grad, negative_slope))


def prelu(_: Engine, x: Tensor, slope: Tensor) -> Tensor:
    require_float(x, slope)
    return torch.where(x > 0, x, x * slope)


def prelu_backward(_: Engine, grad: Tensor, x: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    positive = x > 0
    return torch.where(positive, grad, grad * slope), torch.where(positive, 0.0, grad * x)


def threshold(_: Engine, x: Tensor, threshold: float, value: float) -> Tensor:
    require_float(x)
    return torch.where(x > binary32(threshold, x), x, binary32(value, x))


def hardtanh(_: Engine, x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    require_float(x)
    return clamp(x, min_val, max_val)


def hardtanh_backward(_: Engine, grad: Tensor, x: Tensor, min_val: float, max_val: float) -> Tensor:
    return torch.where(_between(x, min_val, max_val), grad, 0.0)


def hardsigmoid(_: Engine, x: Tensor) -> Tensor:
    require_float(x)
    return div(_ramp(x), 6.0)


def hardsigmoid_backward(_: Engine, grad: Tensor, x: Tensor) -> Tensor:
    return torch.where(_between(x, -3.0, 3.0), div(grad, 6.0), 0.0)


def hardswish(_: Engine, x: Tensor) -> Tensor:
    require_float(x)
    return div(x * _ramp(x), 6.0)


def hardswish_backward(_: Engine, grad: Tensor, x: Tensor) -> Tensor:
    inside = grad * (div(x, 3.0) + 0.5)
    return torch.where(x <= -3.0, 0.0, torch.where(x >= 3.0, grad, inside))


def elu(_: Engine, x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    require_float(x)
    below = mul(expm1(mul(x, input_scale)), alpha * scale)
    return torch.where(x > 0, mul(x, scale), below)


def celu(engine: Engine, x: Tensor, alpha: float = 1) -> Tensor:
    return elu(engine, x, alpha, 1, 1 / alpha)


def elu_backward(
    _: Engine,
    grad: Tensor,
    alpha: float,
    scale: float,
    input_scale: float,
    is_result: bool,
    saved: Tensor,
) -> Tensor:
    if is_result:
        slope = mul(saved + binary32(alpha * scale, saved), input_scale)
    else:
        slope = mul(exp(mul(saved, input_scale)), alpha * scale * input_scale)
    return torch.where(saved > 0, mul(grad, scale), grad * slope)


def softplus(_: Engine, x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    require_float(x)
    scaled = mul(x, beta)
    return torch.where(scaled > binary32(threshold, x), x, div(log1p(exp(scaled)), beta))


def softplus_backward(_: Engine, grad: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    scaled = mul(x, beta)
    return torch.where(scaled > binary32(threshold, x), grad, grad * sigmoid(scaled))


def log_sigmoid(_: Engine, x: Tensor) -> tuple[Tensor, Tensor]:
    """The value, and an empty buffer: nothing is kept for the gradient."""
    require_float(x)
    return min2(x, 0.0) - softplus_tail(x), x.new_zeros(0)


def log_sigmoid_backward(_: Engine, grad: Tensor, x: Tensor, _buffer: Tensor) -> Tensor:
    return grad * sigmoid(-x)


def mish(_: Engine, x: Tensor) -> Tensor:
    require_float(x)
    return x * tanh(log1p(exp(x)))


def mish_backward(_: Engine, grad: Tensor, x: Tensor) -> Tensor:
    t = tanh(log1p(exp(x)))
    return grad * (t + x * (sigmoid(x) * (1.0 - t * t)))


def glu(_: Engine, x: Tensor, dim: int = -1) -> Tensor:
    require_float(x)
    a, b = x.chunk(2, dim)
    return a * sigmoid(b)


def glu_backward(_: Engine, grad: Tensor, x: Tensor, dim: int) -> Tensor:
    a, b = x.chunk(2, dim)
    s = sigmoid(b)
    return torch.cat([grad * s, (grad * a) * ((1.0 - s) * s)], dim)


def softplus_tail(x: Tensor) -> Tensor:
    """log1p(exp(-|x|)): what log(1 + exp(x)) has beyond max2(x, 0)."""
    return log1p(exp(-x.abs()))


def require_float(*operands: Tensor) -> None:
    """Refuse operands that are not binary32."""
    if not all(x.dtype is torch.float32 for x in operands):
        raise Refused("it is defined for float32 operands only")


def _ramp(x: Tensor) -> Tensor:
    return min2(max2(x + 3.0, 0.0), 6.0)


def _between(x: Tensor, low: Operand, high: Operand) -> Tensor:
    return (x > binary32(low, x)) & (x < binary32(high, x))
