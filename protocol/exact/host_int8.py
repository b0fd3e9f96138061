"""The int8 route of processors: three products of digits through `torch._int_mm`.

q = high * 2^d + low, d = b / 2, |digit| <= 2^(d-1). The digits of an operand lie side by side along
the contraction, the left one's as [high, low], the right one's as [low, high]: so one product,
twice as long, is the sum of both mixed ones. For b = 14 the digits lie in [-64, 64], so that even
machines without VNNI, whose int16 pair sums saturate, compute exactly.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from protocol.exact.contraction import Float64Route, fold_blocks, quantise, scale_and_round
from protocol.exact.parts import slices
from protocol.exact.profile import Profile

_SMALLEST: Final = 16  # shorter sides: `_int_mm` has defects at 1, and calls would dominate
_WIDE: Final = Float64Route()


class HostInt8Route:
    """int8 products where matrices are large, binary64 elsewhere; batches are many small ones."""

    name = "int8"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        """See `Route.gemm`."""
        if a.ndim == 3 or min(*a.shape, b.shape[1]) < _SMALLEST:
            return _WIDE.gemm(a, b, profile)
        return fold_blocks(_block, a, b, profile)


def _block(a: Tensor, b: Tensor, profile: Profile) -> Tensor:
    k, bits = a.shape[1], profile.b // 2
    if k < _SMALLEST:
        return _WIDE.gemm(a, b, profile)
    left, left_exponent = _digits(a, -1, profile, high_first=True)
    right, right_exponent = _digits(b, -2, profile, high_first=False)
    high = torch._int_mm(left[:, :k], right[k:])
    mixed = torch._int_mm(left, right)
    low = torch._int_mm(left[:, k:], right[:k])
    result = torch.empty(low.shape, dtype=torch.float32)
    size = slices(result, 0)
    parts = (torch.split(t, size) for t in (high, mixed, low, left_exponent, result))
    for high_part, mixed_part, low_part, rows, out in zip(*parts, strict=True):
        s = _whole(high_part, mixed_part, low_part, bits)
        out.copy_(scale_and_round(s, rows, right_exponent, profile))
    return result


def _whole(high: Tensor, mixed: Tensor, low: Tensor, bits: int) -> Tensor:
    """high * 2^2d + mixed * 2^d + low: integers below 2^41, which binary64 holds."""
    if bits == 7:  # |mixed| <= 2^23 and |low| <= 2^22: their sum fits int32
        s = low.add_(mixed, alpha=1 << bits).to(torch.float64)
    else:
        s = low.to(torch.float64).add_(mixed.to(torch.float64), alpha=1 << bits)
    return s.add_(high.to(torch.float64), alpha=1 << 2 * bits)


def _digits(x: Tensor, dim: int, profile: Profile, *, high_first: bool) -> tuple[Tensor, Tensor]:
    """int8 digits of `x` [R, C], both halves along `dim`, and the exponent fields of its runs."""
    if x.stride(0) == 1 != x.stride(1):  # as it lies in memory
        digits, exponent = _digits(x.t(), -3 - dim, profile, high_first=high_first)
        return digits.t(), exponent.t()
    bits, length = profile.b // 2, x.shape[dim]
    shape = list(x.shape)
    shape[dim] = 2 * length
    digits = torch.empty(shape, dtype=torch.int8)
    exponents: list[Tensor] = []
    axis = -3 - dim  # the matrix's other axis
    size = slices(x, axis)
    for part, out in zip(torch.split(x, size, axis), torch.split(digits, size, axis), strict=True):
        quantised = quantise(part, dim, profile)
        q = quantised.q.to(torch.int16)
        high = (q + (1 << (bits - 1))).bitwise_right_shift_(bits)
        low = q.sub_(high, alpha=1 << bits)
        out.narrow(dim, 0, length).copy_(high if high_first else low)
        out.narrow(dim, length, length).copy_(low if high_first else high)
        exponents.append(quantised.exponent)
    return digits, torch.cat(exponents, axis)
