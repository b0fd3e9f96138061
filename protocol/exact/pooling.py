"""Pooling as extrema and means of windows, in place of the library's kernels.

Replaces `max_pool1d` to `3d`, `avg_pool1d` to `3d` and their adaptive kin above autograd. A
maximum's gradient goes to the first largest element of its window, row-major.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from protocol.exact.handlers import Engine, Refused

Sizes = int | Sequence[int]


def max_pool(axes: int) -> Callable[..., Tensor]:
    """The replacement of max_pool{axes}d: the largest element of each window."""

    def run(
        _: Engine,
        x: Tensor,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        if return_indices:
            raise Refused("indices of a maximum are not defined; take the values only")
        kernel = _each(kernel_size, axes)
        _refuse_ceiling(ceil_mode)
        around = _around(_each(padding, axes))
        padded = pad(x, around, value=float("-inf")) if any(around) else x
        steps = _each(stride or kernel_size, axes)
        return _windows(padded, kernel, steps, _each(dilation, axes)).max(-1).values

    return run


def avg_pool(axes: int) -> Callable[..., Tensor]:
    """The replacement of avg_pool{axes}d: sum of each window / number of its elements."""

    def run(
        _: Engine,
        x: Tensor,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        kernel = _each(kernel_size, axes)
        _refuse_ceiling(ceil_mode)
        around, steps = _around(_each(padding, axes)), _each(stride or kernel_size, axes)
        padded = pad(x, around) if any(around) else x
        total = _windows(padded, kernel, steps, [1] * axes).sum(-1)
        if divisor_override or count_include_pad or not any(around):
            return total / float(divisor_override or prod(kernel))
        with torch.no_grad():
            inside = pad(torch.ones_like(x), around)
            counts = _windows(inside, kernel, steps, [1] * axes).sum(-1)
        return total / counts

    return run


def adaptive_avg_pool(axes: int) -> Callable[..., Tensor]:
    """The replacement of adaptive_avg_pool{axes}d: sum of each cell / number of its elements."""

    def run(_: Engine, x: Tensor, output_size: Sizes) -> Tensor:
        return _per_cell(x, output_size, axes, lambda cell: cell.mean(-1))

    return run


def adaptive_max_pool(axes: int) -> Callable[..., Tensor]:
    """The replacement of adaptive_max_pool{axes}d: the largest element of each cell."""

    def run(_: Engine, x: Tensor, output_size: Sizes, return_indices: bool = False) -> Tensor:
        if return_indices:
            raise Refused("indices of a maximum are not defined; take the values only")
        return _per_cell(x, output_size, axes, lambda cell: cell.max(-1).values)

    return run


def _per_cell(x: Tensor, output_size: Sizes, axes: int, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Cell i of n along an axis of length L: floor(i*L/n) up to, not with, ceil((i+1)*L/n)."""
    wanted = [output_size] * axes if isinstance(output_size, int) else list(output_size)
    lengths = x.shape[x.ndim - axes :]
    counts = [length if n is None else n for n, length in zip(wanted, lengths, strict=True)]
    cells = []
    for place in product(*(range(n) for n in counts)):
        cell = x
        for axis, (i, n, length) in enumerate(zip(place, counts, lengths, strict=True), -axes):
            start, stop = i * length // n, -(-(i + 1) * length // n)
            cell = cell.narrow(axis, start, stop - start)
        cells.append(of(cell.flatten(-axes)))
    return torch.stack(cells, -1).reshape(*x.shape[: x.ndim - axes], *counts)


def _windows(x: Tensor, kernel: list[int], stride: list[int], dilation: list[int]) -> Tensor:
    """[..., positions, window elements row-major]."""
    first = x.ndim - len(kernel)
    view = x
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), start=first):
        view = view.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    return view.reshape(*view.shape[: x.ndim], prod(kernel))


def _each(sizes: Sizes, axes: int) -> list[int]:
    given = [sizes] if isinstance(sizes, int) else list(sizes)
    return given * axes if len(given) == 1 else given


def _around(padding: list[int]) -> list[int]:
    return [n for p in reversed(padding) for n in (p, p)]


def _refuse_ceiling(ceil_mode: bool) -> None:
    if ceil_mode:
        raise Refused("windows that reach beyond the padding are not defined; use ceil_mode=False")
