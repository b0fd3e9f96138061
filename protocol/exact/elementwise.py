"""Elementwise primitives: one IEEE operation each, rounded once to binary32.

Scalars are rounded to binary32 first. The traps of the stock operations are avoided here: `alpha`
and fused multiply-adds, division by a host scalar, library square roots, signs of zero in extrema.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.exact.errors import NonFinite
from protocol.exact.kernels import rows
from protocol.exact.kernels.fused import fused

Operand = Tensor | float | int | bool


def binary32(x: Operand, like: Tensor) -> Tensor:
    """`x` as a binary32 tensor on `like`'s device (integers and host scalars: RNE)."""
    if isinstance(x, Tensor):
        if x.dtype is torch.float32 and x.device == like.device:
            return x
        # CUDA divides by a tensor of the host as by a scalar: it multiplies by the reciprocal.
        return x.to(like.device, torch.float32)
    return torch.tensor(x, dtype=torch.float32, device=like.device)


def _pair(x: Operand, y: Operand) -> tuple[Tensor, Tensor]:
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x.device == y.device:
        return binary32(x, x), binary32(y, y)  # the common case, asked first
    like = x if isinstance(x, Tensor) else y
    if isinstance(y, Tensor) and y.device.type != "cpu":
        like = y  # beside it the other operand can only be a scalar of the host
    assert isinstance(like, Tensor), "one operand is a tensor"
    return binary32(x, like), binary32(y, like)


def add(x: Operand, y: Operand) -> Tensor:
    """x + y."""
    return torch.add(*_pair(x, y))


def sub(x: Operand, y: Operand) -> Tensor:
    """x - y."""
    return torch.sub(*_pair(x, y))


def mul(x: Operand, y: Operand) -> Tensor:
    """x * y."""
    return torch.mul(*_pair(x, y))


def div(x: Operand, y: Operand) -> Tensor:
    """x / y, a true division on every device."""
    return torch.div(*_pair(x, y))


@fused(rows.sqrt)
def sqrt(x: Tensor) -> Tensor:
    """Square root; binary64 and one rounding, as libraries' binary32 roots are not exact."""
    return x.to(torch.float64).sqrt_().to(torch.float32)


def neg(x: Tensor) -> Tensor:
    """-x, the sign of zero included."""
    return torch.neg(x)


def max2(x: Operand, y: Operand) -> Tensor:
    """The larger operand; NaN propagates, zero is +0."""
    return torch.maximum(*_pair(x, y)).add_(0.0)


def min2(x: Operand, y: Operand) -> Tensor:
    """The smaller operand; NaN propagates, zero is +0."""
    return torch.minimum(*_pair(x, y)).add_(0.0)


def clamp(x: Tensor, low: Operand | None = None, high: Operand | None = None) -> Tensor:
    """min2(max2(x, low), high); an absent bound is left out."""
    if low is not None:
        x = max2(x, low)
    if high is not None:
        x = min2(x, high)
    return x + 0.0


@fused(rows.relu)
def relu(x: Tensor) -> Tensor:
    """max2(x, 0)."""
    return max2(x, 0.0)


def power(x: Tensor, exponent: int) -> Tensor:
    """x to a whole power >= 1 as the chain ((x * x) * x) ..., one rounding at each product."""
    result = x.clone() if exponent == 1 else x
    for _ in range(exponent - 1):
        result = result * x
    return result


def to_int(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Truncate binary32 to an integer type (to bool: x != 0). NonFinite when it does not fit.

    Minus infinity, the logarithm of 0, becomes the smallest integer: models that sort distances
    into logarithmic buckets convert it and then drop it.
    """
    if dtype is torch.bool:
        return x != 0
    info = torch.iinfo(dtype)
    whole = torch.where(x == float("-inf"), float(info.min), x.trunc())
    # max + 1 is a power of two and exact in binary32, unlike max itself; NaN fails both tests.
    fits = (whole >= float(info.min)) & (whole < float(info.max + 1))
    if not bool(fits.all()):
        raise NonFinite("to_int", f"a value does not fit {dtype}")
    return whole.to(dtype)
