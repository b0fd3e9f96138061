"""Convolutions of any dimension as GEMMs over unfolded windows.

Handlers of `convolution` and its gradient. A window's elements stand in the order (channel, kernel
positions row-major), windows in the order (sample, output positions row-major): the order decides
how a long contraction is cut into blocks. A transposed convolution, which is also the gradient
with respect to the input, is the plain convolution of the spread-out operand with the turned
kernel: a GEMM again, with no scattered additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from protocol.exact import elementwise, reductions
from protocol.exact.handlers import Engine, Refused

Sizes = Sequence[int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Strides, dilations and groups of one convolution; `padding` has (before, after) per axis."""

    stride: Sizes
    padding: Sequence[tuple[int, int]]
    dilation: Sizes
    groups: int


def convolution(
    engine: Engine,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> Tensor:
    geometry = _geometry(x, weight, stride, padding, dilation, groups)
    if transposed:
        steps = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        sizes = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + extra
            for (n, k, s, p, d), extra in zip(steps, output_padding, strict=True)
        ]
        y = spread(engine, x, weight, sizes, geometry)
    else:
        y = correlate(engine, x, weight, geometry)
    if bias is None:
        return y
    return elementwise.add(y, bias.reshape(1, -1, *[1] * (x.ndim - 2)))


def convolution_backward(
    engine: Engine,
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    _bias_sizes: Sizes | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    _output_padding: Sizes,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    geometry = _geometry(x, weight, stride, padding, dilation, groups)
    dx = dw = db = None
    if output_mask[0] and transposed:
        dx = correlate(engine, grad, weight, geometry, x.shape[2:])
    elif output_mask[0]:
        dx = spread(engine, grad, weight, x.shape[2:], geometry)
    if output_mask[1]:
        image, windows = (grad, x) if transposed else (x, grad)
        dw = kernel_gradient(engine, image, windows, weight.shape, geometry)
    if output_mask[2]:
        db = reductions.sum_(grad, [0, *range(2, grad.ndim)])
    return dx, dw, db


def _geometry(
    x: Tensor, weight: Tensor, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Geometry:
    if x.dtype is not torch.float32 or weight.dtype is not torch.float32:
        raise Refused("it is defined for float32 operands only")
    if x.ndim < 3:
        raise Refused("it takes [N, C, ...]")
    return Geometry(stride, [(p, p) for p in padding], dilation, groups)


def correlate(
    engine: Engine, x: Tensor, weight: Tensor, geometry: Geometry, wanted: Sizes | None = None
) -> Tensor:
    """The plain convolution: `x` [N, C, ...], `weight` [O, C/groups, ...].

    `wanted` positions per axis, where output padding leaves windows at the end that do not count.
    """
    windows, positions = _windows(x, weight.shape[2:], geometry, wanted)
    kernels = weight.reshape(geometry.groups, weight.shape[0] // geometry.groups, -1)
    rows = _grouped_gemm(engine, windows, kernels.transpose(1, 2))
    return _images(rows, x.shape[0], positions)


def spread(engine: Engine, x: Tensor, weight: Tensor, sizes: Sizes, geometry: Geometry) -> Tensor:
    """The transposed convolution, its result `sizes` large: `x` [N, O, ...], `weight` as above."""
    groups, axes = geometry.groups, range(2, x.ndim)
    stretched = x
    for axis, step in zip(axes, geometry.stride, strict=True):
        stretched = _stretched(stretched, axis, step)
    around = []
    for axis, size, d, (before, _) in zip(
        axes, sizes, geometry.dilation, geometry.padding, strict=True
    ):
        reach = d * (weight.shape[axis] - 1)
        left = reach - before
        around.append((left, size - stretched.shape[axis] - left + reach))
    turned = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    turned = turned.flip(list(range(3, turned.ndim))).transpose(1, 2)
    turned = turned.reshape(-1, weight.shape[0] // groups, *weight.shape[2:])
    plain = Geometry([1] * len(sizes), around, geometry.dilation, groups)
    return correlate(engine, stretched, turned, plain)


def kernel_gradient(
    engine: Engine, x: Tensor, grad: Tensor, shape: Sizes, geometry: Geometry
) -> Tensor:
    """Gradient of `correlate` with respect to its weight: contracts over all windows."""
    windows, _ = _windows(x, shape[2:], geometry, grad.shape[2:])
    rows = grad.movedim(1, -1).reshape(-1, geometry.groups, grad.shape[1] // geometry.groups)
    return _grouped_gemm(engine, rows.permute(1, 2, 0), windows).reshape(shape)


def _windows(
    x: Tensor, kernel: Sizes, geometry: Geometry, wanted: Sizes | None = None
) -> tuple[Tensor, list[int]]:
    """[groups, N * positions, C/groups * kernel elements], and the positions per axis."""
    flat = [n for pair in reversed(geometry.padding) for n in pair]
    view = pad(x, flat) if any(flat) else x
    axes = range(2, x.ndim)
    for axis, k, s, d in zip(axes, kernel, geometry.stride, geometry.dilation, strict=True):
        view = view.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    for axis, n in zip(axes, wanted or (), strict=wanted is not None):
        view = view.narrow(axis, 0, n)
    positions = list(view.shape[2 : x.ndim])
    groups, channels = geometry.groups, x.shape[1] // geometry.groups
    view = view.reshape(x.shape[0], groups, channels, *view.shape[2:])
    inner = range(3, 3 + len(positions))
    view = view.permute(1, 0, *inner, 2, *range(3 + len(positions), view.ndim))
    return view.reshape(groups, x.shape[0] * prod(positions), channels * prod(kernel)), positions


def _stretched(x: Tensor, axis: int, step: int) -> Tensor:
    """`x` with step - 1 zeros between neighbours along `axis`."""
    if step == 1:
        return x
    shape = list(x.shape)
    shape[axis] = (shape[axis] - 1) * step + 1
    result = x.new_zeros(shape)
    places = [slice(None)] * x.ndim
    places[axis] = slice(None, None, step)
    result[tuple(places)] = x
    return result


def _grouped_gemm(engine: Engine, a: Tensor, b: Tensor) -> Tensor:
    if a.shape[0] == 1:
        return engine.gemm(a[0], b[0]).unsqueeze(0)
    return engine.gemm(a, b)


def _images(rows: Tensor, samples: int, positions: list[int]) -> Tensor:
    """[groups, N * positions, O/groups] as [N, O, ...]."""
    groups, _, channels = rows.shape
    y = rows.reshape(groups, samples, *positions, channels).permute(
        1, 0, -1, *range(2, 2 + len(positions))
    )
    return y.reshape(samples, groups * channels, *positions)
