"""Handlers of variances, log-sum-exp, and running sums and products.

Spread is two exact sums: the mean first, then the squares of what differs from it. A running sum
or product folds in ascending order, one rounding at each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from protocol.exact import elementwise, reductions
from protocol.exact.activations import require_float
from protocol.exact.functions import exp, log
from protocol.exact.handlers import Engine, Refused

Axes = Sequence[int] | None
Fold = Callable[[Tensor, Tensor], Tensor]


def var(
    _: Engine,
    x: Tensor,
    dim: Axes = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> Tensor:
    return _spread(x, dim, correction, keepdim)[0]


def std(
    _: Engine,
    x: Tensor,
    dim: Axes = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> Tensor:
    return elementwise.sqrt(_spread(x, dim, correction, keepdim)[0])


def var_mean(
    _: Engine,
    x: Tensor,
    dim: Axes = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor]:
    return _spread(x, dim, correction, keepdim)


def std_mean(
    _: Engine,
    x: Tensor,
    dim: Axes = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor]:
    variance, mean = _spread(x, dim, correction, keepdim)
    return elementwise.sqrt(variance), mean


def _spread(x: Tensor, dim: Axes, correction: float | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    """(sum(c*c) / max(n - correction, 0), mean), c = x - mean."""
    require_float(x)
    axes = reductions.normalise_dims(dim, x.ndim)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    mean = reductions.mean(x, axes, keepdim=True)
    c = x - mean
    free = max(count - (1 if correction is None else correction), 0)
    variance = elementwise.div(reductions.sum_(c * c, axes, keepdim), float(free))
    return variance, mean if keepdim else mean.reshape(variance.shape)


def logsumexp(_: Engine, x: Tensor, dim: Sequence[int], keepdim: bool = False) -> Tensor:
    """m + log(sum(exp(x - m))), m = amax(x), and 0 in its place where it is infinite."""
    require_float(x)
    m = reductions.amax(x, dim, keepdim=True)
    m = torch.where(torch.isinf(m), 0.0, m)
    total = reductions.sum_(exp(x - m), dim, keepdim)
    return log(total) + m.reshape(total.shape)


def cumulative(name: str, fold: Fold) -> Callable[..., Tensor]:
    """The handler of cumsum or cumprod: y_0 = x_0, y_i = fold(y_(i-1), x_i)."""
    integers: Callable[..., Tensor] = getattr(torch, name)

    def run(_: Engine, x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
        if not (dtype or x.dtype).is_floating_point:
            if x.is_floating_point():
                x = elementwise.to_int(x, dtype or x.dtype)
            return integers(x, dim, dtype=dtype)
        x = elementwise.binary32(x, x)
        return torch.stack(_running(x, dim, fold), dim) if x.ndim and x.numel() else x.clone()

    return run


def prod(_: Engine, x: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    return _product(x.reshape(-1), 0, False, dtype)


def prod_along(
    _: Engine, x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    return _product(x, dim, keepdim, dtype)


def _product(x: Tensor, dim: int, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
    """((x_0 * x_1) * x_2) ..., and 1 of nothing."""
    if not (dtype or x.dtype).is_floating_point:
        if x.is_floating_point():
            raise Refused("a product of floats has no integer result")
        return torch.prod(x, dim, keepdim, dtype=dtype)
    x = elementwise.binary32(x, x)
    if not x.ndim:
        return x.clone()
    steps = _running(x, dim, torch.mul)
    shape = [n for axis, n in enumerate(x.shape) if axis != dim % x.ndim]
    result = steps[-1] if steps else x.new_ones(shape)
    return result.unsqueeze(dim) if keepdim else result


def _running(x: Tensor, dim: int, fold: Fold) -> list[Tensor]:
    found: list[Tensor] = []
    for row in x.unbind(dim):
        found.append(fold(found[-1], row) if found else row.clone())
    return found
