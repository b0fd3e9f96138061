"""Batch, group and instance normalisation as layer normalisation of a rearranged tensor.

Replaces the library calls above autograd: which kernel serves them depends on the device. Each is
`layer_norm` without weights over the elements that share their statistics, then * weight + bias
per channel. Batch normalisation in evaluation uses its stored statistics instead. Root mean square
normalisation and weights of given norm are here too: the library fuses them on some devices.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from protocol.exact.handlers import Engine, Refused


def batch_norm(
    _: Engine,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    _cudnn: bool = False,
) -> Tensor:
    """((x - mean) * (1 / sqrt(var + eps))) * weight + bias per channel, `x` [N, C, ...].

    In training the statistics are the batch's, and the stored ones move towards them.
    """
    if training:
        if running_mean is not None and running_var is not None:
            _follow(x.detach(), running_mean, running_var, momentum)
        columns = x.transpose(0, 1)
        rows = columns.reshape(x.shape[1], -1)
        y = layer_norm(rows, [rows.shape[1]], None, None, eps)
        return _affine(y.reshape(columns.shape).transpose(0, 1), weight, bias)
    if running_mean is None or running_var is None:
        raise Refused("evaluation needs the stored mean and variance")
    centred = x - _per_channel(running_mean, x)
    return _affine(centred * (1.0 / (_per_channel(running_var, x) + eps).sqrt()), weight, bias)


def group_norm(
    _: Engine,
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    _cudnn: bool = True,
) -> Tensor:
    """`layer_norm` of each sample's groups of channels, then * weight + bias per channel."""
    if x.shape[1] % groups:
        raise Refused(f"{x.shape[1]} channels cannot form {groups} equal groups")
    rows = x.reshape(x.shape[0] * groups, -1)
    y = layer_norm(rows, [rows.shape[1]], None, None, eps)
    return _affine(y.reshape(x.shape), weight, bias)


def instance_norm(
    engine: Engine,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    _cudnn: bool = False,
) -> Tensor:
    """`group_norm` with one channel per group; with stored statistics it is `batch_norm`."""
    if use_input_stats:
        if running_mean is not None:
            raise Refused("stored statistics of instances are not defined")
        return group_norm(engine, x, x.shape[1], weight, bias, eps)
    return batch_norm(engine, x, weight, bias, running_mean, running_var, False, momentum, eps)


def rms_norm(
    _: Engine, x: Tensor, shape: list[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """(x * r) * weight, r = 1 / sqrt(sum(x*x)/n + eps), eps 2^-23 if None."""
    axes = list(range(x.ndim - len(shape), x.ndim))
    squares = (x * x).mean(axes, keepdim=True)
    y = x * (1.0 / (squares + (2.0**-23 if eps is None else eps)).sqrt())
    return y if weight is None else y * weight


def weight_norm(_: Engine, v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """v * (g / norm(v)), the norm over all axes but `dim`, or over all of them for -1."""
    axes = [axis for axis in range(v.ndim) if dim == -1 or axis != dim % v.ndim]
    norm: Tensor = torch.linalg.vector_norm(v, 2, axes, keepdim=dim != -1)
    return v * (g / norm)


def _follow(x: Tensor, mean: Tensor, variance: Tensor, momentum: float | None) -> None:
    """stored = (1 - momentum)*stored + momentum*batch; the variance divides by n - 1."""
    if momentum is None:
        raise Refused("a cumulative average of statistics is not defined; give a momentum")
    rows = x.transpose(0, 1).reshape(x.shape[1], -1)
    with torch.no_grad():
        own = rows.mean(1)
        spread = rows - own.unsqueeze(1)
        squares = (spread * spread).sum(1) / max(rows.shape[1] - 1, 1)
        mean.copy_((1.0 - momentum) * mean + momentum * own)
        variance.copy_((1.0 - momentum) * variance + momentum * squares)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = x * _per_channel(weight, x)
    return x if bias is None else x + _per_channel(bias, x)


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (x.ndim - 2))
