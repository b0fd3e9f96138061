"""Handlers of calls that copy elements to other places: nearest neighbours, reflected edges.

Forward they move bits. The gradient of an element is the exact sum of what arrives at its copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from protocol.exact import reductions
from protocol.exact.handlers import Engine, Handler, Refused


def moved_backward(move: Callable[..., Tensor]) -> Handler:
    """The gradient of `move(x, ...)`, a call that only copies elements of x."""

    def handler(_: Engine, grad: Tensor, x: Tensor, *args: Any) -> Tensor:
        return _sum_of_copies(grad, move(_positions(x.shape, grad), *args), x.shape)

    return handler


def nearest(centred: bool) -> Handler:
    """upsample_nearest (of corners) or its exact kin (of centres): see `_sources`."""

    def handler(_: Engine, x: Tensor, output_size: Sequence[int], *scales: float | None) -> Tensor:
        return _picked(x, output_size, scales, centred)

    return handler


def nearest_backward(centred: bool) -> Handler:
    """The gradient of `nearest`."""

    def handler(
        _: Engine,
        grad: Tensor,
        output_size: Sequence[int],
        input_size: Sequence[int],
        *scales: float | None,
    ) -> Tensor:
        places = _picked(_positions(input_size, grad), output_size, scales, centred)
        return _sum_of_copies(grad, places, input_size)

    return handler


def _picked(
    x: Tensor, output_size: Sequence[int], scales: Sequence[float | None], centred: bool
) -> Tensor:
    axes = len(output_size)
    factors = scales or [None] * axes  # ATen leaves them out where only sizes are given
    for axis, (count, scale) in enumerate(zip(output_size, factors, strict=True), x.ndim - axes):
        length = x.shape[axis]
        if scale is not None and length * scale != count:
            raise Refused(f"a factor of {scale} does not turn {length} into {count}; give a size")
        x = x.index_select(axis, _sources(count, length, centred).to(x.device))
    return x


def _sources(count: int, length: int, centred: bool) -> Tensor:
    """floor(i*length/count) for each i, or floor((i+1/2)*length/count), in integers."""
    i = torch.arange(count)
    return (2 * i + 1) * length // (2 * count) if centred else i * length // count


def _positions(shape: Sequence[int], like: Tensor) -> Tensor:
    """Row-major indices in binary64: it holds them exactly and every kernel moves it."""
    count = torch.Size(shape).numel()
    return torch.arange(count, dtype=torch.float64, device=like.device).reshape(*shape)


def _sum_of_copies(grad: Tensor, places: Tensor, shape: Sequence[int]) -> Tensor:
    index, column = places.reshape(-1).to(torch.int64), grad.reshape(-1, 1)
    return reductions.index_sum(index, column, torch.Size(shape).numel()).reshape(*shape)
