"""Handlers of loss functions and their gradients.

Each is a value per element, reduced by the exact sum; a mean divides that sum once. The gradient
of a mean divides what arrives by the count first.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from protocol.exact import compositions, reductions
from protocol.exact.activations import require_float, softplus_tail
from protocol.exact.elementwise import binary32, div, max2
from protocol.exact.functions import log, log1p
from protocol.exact.handlers import Engine, Refused

_NONE, _MEAN = 0, 1
"""ATen's reductions; the third, 2, is the sum."""

_REDUCTIONS: Final = ("none", "mean", "sum")


def mse_loss(_: Engine, x: Tensor, y: Tensor, reduction: int = _MEAN) -> Tensor:
    require_float(x, y)
    return _reduced((x - y) * (x - y), reduction)


def mse_loss_backward(_: Engine, grad: Tensor, x: Tensor, y: Tensor, reduction: int) -> Tensor:
    difference = x - y
    return _share(grad, difference, reduction) * (2.0 * difference)


def huber_loss(
    _: Engine, x: Tensor, y: Tensor, reduction: int = _MEAN, delta: float = 1.0
) -> Tensor:
    require_float(x, y)
    z, bound = (x - y).abs(), binary32(delta, x)
    far = bound * (z - 0.5 * bound)
    return _reduced(torch.where(z <= bound, 0.5 * (z * z), far), reduction)


def huber_loss_backward(
    _: Engine, grad: Tensor, x: Tensor, y: Tensor, reduction: int, delta: float
) -> Tensor:
    difference, bound = x - y, binary32(delta, x)
    share = _share(grad, difference, reduction)
    return share * difference.clamp(-bound, bound)


def smooth_l1_loss(
    _: Engine, x: Tensor, y: Tensor, reduction: int = _MEAN, beta: float = 1.0
) -> Tensor:
    require_float(x, y)
    z, bound = (x - y).abs(), binary32(beta, x)
    near = (0.5 * (z * z)) / bound
    return _reduced(torch.where(z < bound, near, z - 0.5 * bound), reduction)


def smooth_l1_loss_backward(
    _: Engine, grad: Tensor, x: Tensor, y: Tensor, reduction: int, beta: float
) -> Tensor:
    difference, bound = x - y, binary32(beta, x)
    share = _share(grad, difference, reduction)
    slope = torch.where(difference <= -bound, -1.0, difference / bound)
    return share * torch.where(difference >= bound, 1.0, slope)


def bce(
    _: Engine, x: Tensor, y: Tensor, weight: Tensor | None = None, reduction: int = _MEAN
) -> Tensor:
    """-(y*max2(log(x), -100) + (1-y)*max2(log1p(-x), -100)), then * weight."""
    require_float(x, y)
    if bool(((x < 0) | (x > 1)).any()):
        raise Refused("probabilities lie in [0, 1]; for other numbers take the loss with logits")
    losses = -(y * max2(log(x), -100.0) + (1.0 - y) * max2(log1p(-x), -100.0))
    return _reduced(losses if weight is None else losses * weight, reduction)


def bce_backward(
    _: Engine,
    grad: Tensor,
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    reduction: int = _MEAN,
) -> Tensor:
    slope = (x - y) / max2((1.0 - x) * x, 1e-12)
    share = _share(grad, x, reduction)
    return share * (slope if weight is None else slope * weight)


def bce_with_logits(
    _: Engine,
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = _MEAN,
) -> Tensor:
    """(1-y)*x + (1+(pos_weight-1)*y) * (log1p(exp(-|x|)) + max2(-x, 0)), then * weight."""
    require_float(x, y)
    tail = softplus_tail(x) + max2(-x, 0.0)
    if pos_weight is not None:
        tail = (1.0 + (pos_weight - 1.0) * y) * tail
    losses = (1.0 - y) * x + tail
    return _reduced(losses if weight is None else losses * weight, reduction)


def xlogy(_: Engine, x: Tensor, y: Tensor) -> Tensor:
    """x*log(y), and 0 where x is 0 and y no NaN."""
    x, y = binary32(x, x), binary32(y, y)
    return torch.where((x == 0) & ~torch.isnan(y), 0.0, x * log(y))


def nll_loss(
    _: Engine,
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
) -> tuple[Tensor, Tensor]:
    """(loss, counted targets or their weights); `logp` [C], [N, C] or [N, C, ...]."""
    require_float(logp)
    rows, flat = _classes_last(logp), target.reshape(-1)
    if weight is None:
        how = _REDUCTIONS[reduction]
        losses, count = compositions.nll_loss(rows, flat, how, ignore_index)
    else:
        each = _weights(weight, flat, ignore_index)
        index = torch.where(flat == ignore_index, 0, flat).unsqueeze(1)
        losses = -each * rows.gather(1, index).squeeze(1)
        count = reductions.sum_(each)
        if reduction != _NONE:
            losses = reductions.sum_(losses)
        losses = losses / count if reduction == _MEAN else losses
    return (losses.reshape(target.shape) if reduction == _NONE else losses), count


def nll_loss_backward(
    _: Engine,
    grad: Tensor,
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    count: Tensor,
) -> Tensor:
    """-(grad/count) * weight at each counted target, +0 elsewhere."""
    rows, flat = _classes_last(logp), target.reshape(-1)
    if reduction == _NONE:
        grad = grad.reshape(-1)
    how = _REDUCTIONS[reduction]
    if weight is not None:
        each = grad / count if reduction == _MEAN else grad
        grad, how = each * _weights(weight, flat, ignore_index), "sum"
    result = compositions.nll_loss_backward(grad, rows, flat, how, ignore_index, count)
    if logp.ndim < 3:
        return result.reshape(logp.shape)
    shape = (logp.shape[0], *logp.shape[2:], logp.shape[1])
    return result.reshape(shape).movedim(-1, 1).contiguous()


def _classes_last(logp: Tensor) -> Tensor:
    """[N, C, ...] as [N * ..., C]; unbatched [C] as [1, C]."""
    if logp.ndim < 3:
        return logp if logp.ndim == 2 else logp.unsqueeze(0)
    return logp.movedim(1, -1).reshape(-1, logp.shape[1])


def _weights(weight: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    ignored = target == ignore_index
    return torch.where(ignored, 0.0, weight[torch.where(ignored, 0, target)])


def _reduced(losses: Tensor, reduction: int) -> Tensor:
    if reduction == _NONE:
        return losses
    return reductions.mean(losses) if reduction == _MEAN else reductions.sum_(losses)


def _share(grad: Tensor, of: Tensor, reduction: int) -> Tensor:
    """What arrives at each element of the loss."""
    return div(grad, float(of.numel())) if reduction == _MEAN else grad
