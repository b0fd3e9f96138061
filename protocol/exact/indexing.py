"""Handlers of calls that move, convert or scatter values.

Gathers and copies preserve bits; scatters that add are exact sums of what hits each element, plus
one addition to the base value, so that neither order nor atomics can show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from protocol.exact import elementwise, reductions
from protocol.exact.handlers import Engine, Refused, is_float

_WHOLE: Final = 1 << 24
"""Largest whole number below which binary32 holds every one."""


def where(_: Engine, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if is_float(x, y):
        x, y = elementwise.binary32(x, x), elementwise.binary32(y, y)
    return torch.where(condition, x, y)


def to_copy(_: Engine, x: Tensor, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    if dtype is not None and x.is_floating_point() and not dtype.is_floating_point:
        x = elementwise.to_int(x, dtype)
    return torch.ops.aten._to_copy.default(x, dtype=dtype, **options)  # type: ignore[no-any-return]


def copy_(_: Engine, x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    if source.is_floating_point() and not x.is_floating_point():
        source = elementwise.to_int(source, x.dtype)
    return x.copy_(source, non_blocking)


def embedding(
    _: Engine,
    weight: Tensor,
    indices: Tensor,
    _padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    if scale_grad_by_freq or sparse:
        raise Refused("sparse or frequency-scaled embedding gradients are not defined")
    return torch.ops.aten.embedding.default(weight, indices)  # type: ignore[no-any-return]


def embedding_backward(
    _: Engine,
    grad: Tensor,
    indices: Tensor,
    num_weights: int,
    padding_idx: int,
    scale_grad_by_freq: bool,
) -> Tensor:
    if scale_grad_by_freq:
        raise Refused("frequency-scaled embedding gradients are not defined")
    index, source = indices.reshape(-1), grad.reshape(-1, grad.shape[-1])
    result = reductions.index_sum(index, source, num_weights)
    if 0 <= padding_idx < num_weights:
        result[padding_idx] = 0.0
    return result


def unfold_backward(
    _: Engine, grad: Tensor, sizes: Sequence[int], dim: int, size: int, step: int
) -> Tensor:
    dim %= len(sizes)
    windows = grad.movedim((dim, -1), (0, 1))
    count, device = windows.shape[0], grad.device
    start = torch.arange(count, device=device) * step
    index = (start.unsqueeze(1) + torch.arange(size, device=device)).reshape(-1)
    rows = windows.reshape(count * size, -1)
    others = [n for axis, n in enumerate(sizes) if axis != dim]
    total = reductions.index_sum(index, rows, sizes[dim])
    return total.reshape(sizes[dim], *others).movedim(0, dim)


def index_add(
    _: Engine, x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    if not is_float(x, source):
        return torch.index_add(x, dim, index, source, alpha=alpha)
    if alpha != 1:
        source = elementwise.mul(source, alpha)
    if x.ndim == 0:
        raise Refused("the base must have at least one axis")
    base = x.movedim(dim, 0)
    rows = source.movedim(dim, 0).reshape(index.numel(), -1)
    total = reductions.index_sum(index.reshape(-1).long(), rows, base.shape[0])
    return (base + total.reshape(base.shape)).movedim(0, dim)


def index_put(
    _: Engine,
    x: Tensor,
    indices: Sequence[Tensor | None],
    values: Tensor,
    accumulate: bool = False,
) -> Tensor:
    positions = _positions(x)[tuple(slice(None) if i is None else i for i in indices)]
    if not accumulate:
        _refuse_duplicates(positions)
        return torch.index_put(x, list(indices), values)
    if not is_float(x, values):
        return torch.index_put(x, list(indices), values, True)
    return _scatter_sum(x, positions, values.expand(positions.shape))


def scatter_add(_: Engine, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    if not is_float(x, source):
        return torch.scatter_add(x, dim, index, source)
    window = source[tuple(slice(0, n) for n in index.shape)]
    return _scatter_sum(x, _positions(x).gather(dim, index), window)


def scatter_value(_: Engine, x: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    return torch.scatter(x, dim, index, value)


def scatter_source(_: Engine, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    _refuse_duplicates(_positions(x).gather(dim, index))
    return torch.scatter(x, dim, index, source)


def _positions(x: Tensor) -> Tensor:
    return torch.arange(x.numel(), device=x.device).reshape(x.shape)


def _scatter_sum(x: Tensor, positions: Tensor, values: Tensor) -> Tensor:
    column = values.reshape(-1, 1)
    return x + reductions.index_sum(positions.reshape(-1), column, x.numel()).reshape(x.shape)


def _refuse_duplicates(positions: Tensor) -> None:
    flat = positions.reshape(-1)
    if flat.numel() != torch.unique(flat).numel():
        raise Refused("two values are written to one element; which one stays is undefined")


def arange(_: Engine, *bounds: float, **options: Any) -> Tensor:
    """Integers, or the whole numbers that binary32 holds exactly."""
    dtype = options.pop("dtype", None)
    if not (is_float(*bounds) if dtype is None else dtype.is_floating_point):
        return torch.arange(*bounds, dtype=dtype, **options)
    if not all(n == int(n) and abs(n) <= _WHOLE for n in bounds):
        raise Refused("floats in steps are defined for whole numbers up to 2^24 only")
    whole = [int(n) for n in bounds]
    return torch.arange(*whole, dtype=torch.int64, **options).to(torch.float32)


def zeros_like_empty(_: Engine, *args: Any, **options: Any) -> Tensor:
    """`empty` in the engine: uninitialised memory is not a function of values, zeros are."""
    options.pop("memory_format", None)
    return torch.zeros(*args, **options)


def new_empty(_: Engine, x: Tensor, size: Sequence[int], **options: Any) -> Tensor:
    return x.new_zeros(size, **options)


def empty_strided(_: Engine, size: Sequence[int], _stride: object, **options: Any) -> Tensor:
    return torch.zeros(size, **options)


def new_empty_strided(
    _: Engine, x: Tensor, size: Sequence[int], _stride: object, **options: Any
) -> Tensor:
    return x.new_zeros(size, **options)


def empty_like(_: Engine, x: Tensor, **options: Any) -> Tensor:
    return torch.zeros_like(x, **options)
