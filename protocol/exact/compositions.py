"""Fixed compositions of primitives: activations, softmax, normalisation, losses, their gradients.

Each formula is part of the profile: one binary32 rounding per sign, in the order written. A fused
kernel may replace one only if it returns the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.exact.elementwise import binary32, div, sqrt
from protocol.exact.functions import erf, exp, log, tanh
from protocol.exact.kernels import rows
from protocol.exact.kernels.fused import fused
from protocol.exact.parts import by_rows, part_by_part
from protocol.exact.reductions import amax, sum_

# Constants by their bits, so that no host library rounds them.
_CUBIC = float.fromhex("0x1.6e4e26p-5")  # 0.044715, 0x3d372713
_SQRT_2_OVER_PI = float.fromhex("0x1.988454p-1")  # k, 0x3f4c422a
_SQRT_HALF = float.fromhex("0x1.6a09e6p-1")  # k2, 0x3f3504f3
_INV_SQRT_2PI = float.fromhex("0x1.988454p-2")  # k3, 0x3ecc422a
_CUBIC_3 = float.fromhex("0x1.12ba9ep-3")  # k4 = 0.134145, 0x3e095d4f


@fused(rows.sigmoid)
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return part_by_part(lambda x: div(1.0, 1.0 + exp(-x)), x)


@fused(rows.sigmoid_backward)
def sigmoid_backward(grad: Tensor, y: Tensor) -> Tensor:
    """grad * ((1 - y) * y), `y` the sigmoid's output."""
    return part_by_part(lambda grad, y: grad * ((1.0 - y) * y), grad, y)


@fused(rows.silu)
def silu(x: Tensor) -> Tensor:
    """x / (1 + exp(-x))."""
    return part_by_part(lambda x: div(x, 1.0 + exp(-x)), x)


@fused(rows.silu_backward)
def silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    """grad * (s * (1 + x * (1 - s))), s = sigmoid(x)."""
    return part_by_part(_silu_backward, grad, x)


def _silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    s = sigmoid(x)
    return grad * (s * (1.0 + x * (1.0 - s)))


@fused(rows.tanh_backward)
def tanh_backward(grad: Tensor, y: Tensor) -> Tensor:
    """grad * (1 - y * y), `y` the tanh's output."""
    return part_by_part(lambda grad, y: grad * (1.0 - y * y), grad, y)


@fused(rows.gelu)
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """GELU by erf ('none') or by tanh ('tanh')."""
    if approximate == "none":
        return part_by_part(lambda x: (0.5 * x) * (1.0 + erf(x * _SQRT_HALF)), x)
    return part_by_part(lambda x: (0.5 * x) * (1.0 + _gelu_tanh(x)), x)


@fused(rows.gelu_backward)
def gelu_backward(grad: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    """Gradient of `gelu` with respect to its input."""
    backward = _gelu_erf_backward if approximate == "none" else _gelu_tanh_backward
    return part_by_part(backward, grad, x)


def _gelu_erf_backward(grad: Tensor, x: Tensor) -> Tensor:
    density = _INV_SQRT_2PI * exp(-0.5 * (x * x))
    return grad * (0.5 * (1.0 + erf(x * _SQRT_HALF)) + x * density)


def _gelu_tanh_backward(grad: Tensor, x: Tensor) -> Tensor:
    t = _gelu_tanh(x)
    slope = _SQRT_2_OVER_PI * (1.0 + _CUBIC_3 * (x * x))
    return grad * (0.5 * (1.0 + t) + (0.5 * x) * ((1.0 - t * t) * slope))


def _gelu_tanh(x: Tensor) -> Tensor:
    return tanh(_SQRT_2_OVER_PI * (x + _CUBIC * ((x * x) * x)))


@fused(rows.softmax)
def softmax(x: Tensor, dim: int) -> Tensor:
    """e / sum(e), e = exp(x - amax(x)). A row of -Inf only is NonFinite."""
    return by_rows(_softmax, dim, x)


def _softmax(x: Tensor, dim: int) -> Tensor:
    e = exp(x - amax(x, dim, keepdim=True)) if x.numel() else x.clone()
    return e.div_(sum_(e, dim, keepdim=True))


@fused(rows.softmax_backward)
def softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    """u - y * sum(u), u = grad * y, `y` the softmax's output."""
    return by_rows(_softmax_backward, dim, grad, y)


def _softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    u = grad * y
    return u - y * sum_(u, dim, keepdim=True)


@fused(rows.log_softmax)
def log_softmax(x: Tensor, dim: int) -> Tensor:
    """z - log(sum(exp(z))), z = x - amax(x)."""
    return by_rows(_log_softmax, dim, x)


def _log_softmax(x: Tensor, dim: int) -> Tensor:
    z = x - amax(x, dim, keepdim=True) if x.numel() else x.clone()
    return z - log(sum_(exp(z), dim, keepdim=True))


@fused(rows.log_softmax_backward)
def log_softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    """grad - exp(y) * sum(grad), `y` the log-softmax's output."""
    return by_rows(_log_softmax_backward, dim, grad, y)


def _log_softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    return grad - exp(y) * sum_(grad, dim, keepdim=True)


@fused(rows.layer_norm)
def layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """((c * r) * weight + bias, mean, r): c = x - mean, r = 1 / sqrt(sum(c*c)/n + eps)."""
    dims, n = _normalised(x, shape)
    mu = sum_(x, dims, keepdim=True) / n
    c = x - mu
    r = div(1.0, sqrt(sum_(c * c, dims, keepdim=True) / n + binary32(eps, x)))
    y = c * r
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y, mu, r


@fused(rows.layer_norm_backward)
def layer_norm_backward(
    grad: Tensor, x: Tensor, shape: list[int], mu: Tensor, r: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients (input, weight, bias): h = (x-mu)*r, u = grad*weight,
    ((u - sum(u)/n) - h*(sum(u*h)/n)) * r; sum(grad*h); sum(grad).
    """
    dims, n = _normalised(x, shape)
    outer = list(range(x.ndim - len(shape)))
    h = (x - mu) * r
    u = grad * weight if weight is not None else grad
    centred = u - sum_(u, dims, keepdim=True) / n
    dx = (centred - h * (sum_(u * h, dims, keepdim=True) / n)) * r
    if not outer:
        return dx, grad * h, grad.clone()
    return dx, sum_(grad * h, outer), sum_(grad, outer)


def rms_norm(x: Tensor, shape: list[int], weight: Tensor | None, eps: float) -> Tensor:
    """(x * r) * weight, r = 1 / sqrt(sum(x*x)/n + eps)."""
    dims, n = _normalised(x, shape)
    y = x * div(1.0, sqrt(sum_(x * x, dims, keepdim=True) / n + binary32(eps, x)))
    return y * weight if weight is not None else y


def _normalised(x: Tensor, shape: list[int]) -> tuple[list[int], Tensor]:
    count = 1
    for size in shape:
        count *= size
    return list(range(x.ndim - len(shape), x.ndim)), binary32(float(count), x)


def nll_loss(
    logp: Tensor, target: Tensor, reduction: str, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """(loss, number of counted targets as float): sum(-logp[t]) / n_valid for 'mean'.

    `logp` [N, C], `target` int64 [N]; an ignored target contributes +0 and is not counted.
    """
    valid = target != ignore_index
    picked = logp.gather(1, torch.where(valid, target, 0).unsqueeze(1)).squeeze(1)
    losses = torch.where(valid, -picked, 0.0)
    count = valid.sum().to(torch.float32)
    if reduction == "none":
        return losses, torch.zeros_like(count)
    total = sum_(losses)
    return (total / count if reduction == "mean" else total), count


def nll_loss_backward(
    grad: Tensor, logp: Tensor, target: Tensor, reduction: str, ignore_index: int, count: Tensor
) -> Tensor:
    """-(grad / n_valid) at each counted target ('sum', 'none': -grad), +0 elsewhere."""
    valid = target != ignore_index
    each = -(grad / count) if reduction == "mean" else -grad
    values = torch.where(valid, each, 0.0)
    out = torch.zeros_like(logp, memory_format=torch.contiguous_format)
    return out.scatter_(1, torch.where(valid, target, 0).unsqueeze(1), values.unsqueeze(1))


def norm2(x: Tensor, dim: list[int] | int | None = None, keepdim: bool = False) -> Tensor:
    """Euclidean norm sqrt(sum(x * x))."""
    return sqrt(sum_(x * x, dim, keepdim))
