"""Handlers of the squared error and the leaky rectifier, with their gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.exact import elementwise, reductions
from protocol.exact.handlers import Engine, Refused

_NONE, _MEAN = 0, 1
"""ATen's reductions; the third, 2, is the sum."""


def mse_loss(_: Engine, x: Tensor, y: Tensor, reduction: int = _MEAN) -> Tensor:
    _require_float(x, y)
    squares = (x - y) * (x - y)
    if reduction == _NONE:
        return squares
    return reductions.mean(squares) if reduction == _MEAN else reductions.sum_(squares)


def mse_loss_backward(_: Engine, grad: Tensor, x: Tensor, y: Tensor, reduction: int) -> Tensor:
    difference = x - y
    if reduction == _MEAN:
        grad = elementwise.div(grad, float(difference.numel()))
    return grad * (2.0 * difference)


def leaky_relu(_: Engine, x: Tensor, negative_slope: float = 0.01) -> Tensor:
    _require_float(x)
    return torch.where(x > 0, x, elementwise.mul(x, negative_slope))


def leaky_relu_backward(
    _: Engine, grad: Tensor, x: Tensor, negative_slope: float, _is_result: bool
) -> Tensor:
    return torch.where(x > 0, grad, elementwise.mul(grad, negative_slope))


def _require_float(*operands: Tensor) -> None:
    if not all(x.dtype is torch.float32 for x in operands):
        raise Refused("it is defined for float32 operands only")
