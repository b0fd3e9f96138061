"""Exact GEMM: quantised operands, exact integer dot products, one rounding per block.

`C[M, N] = A[M, K] . B[K, N]`, cut into blocks of `kb` consecutive k. In a block every row of A and
every column of B gets one power-of-two scale, its elements become integers of `b` bits, their
products are summed exactly, and the sum is rounded once to binary32; blocks are folded in ascending
order by binary32 additions. How a block's integer product is computed is the route's business.

INVARIANT: routes differ in speed only; every route returns the same bits for the same operands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from protocol.exact.errors import NonFinite
from protocol.exact.profile import Profile

_MAGNITUDE = 0x7FFFFFFF
_INFINITY = 0x7F800000


class Route(Protocol):
    """One way to compute whole GEMMs from binary32 operands.

    The seam for native kernels: an implementation gets the raw operands, so it may fuse
    quantisation, products and epilogue, as long as `selftest` finds the known answers.
    """

    @property
    def name(self) -> str:
        """Stable name, as accepted by `exact(route=...)`."""
        ...

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        """`a` [M, K] by `b` [K, N], or batches [Z, M, K] by [Z, K, N], binary32, any strides."""
        ...


@dataclass(frozen=True, slots=True)
class Quantised:
    """Integers (held in binary32, |q| < 2^15) and the exponent field of each row's scale."""

    q: Tensor
    exponent: Tensor


def quantise(x: Tensor, dim: int, profile: Profile) -> Quantised:
    """Round `x` to b-bit integers with one scale per run along `dim` (at most kb long).

    Raises NonFinite when `x` holds a NaN or an infinity.
    """
    m = (x.view(torch.int32) & _MAGNITUDE).amax(dim, keepdim=True)
    low, high = (int(v) for v in torch.aminmax(m))
    if high >= _INFINITY:
        raise NonFinite("gemm", "an operand holds a NaN or an infinity")
    carry = profile.exponent_carry
    exponent = (m + carry).bitwise_right_shift_(23).clamp_(min=1)
    shift = (profile.b + 125) - exponent
    # 2^shift may exceed binary32's range for tiny rows: then scale in two exact steps. Scaling
    # down is inexact only where the quotient is far below 1/2 and rounds to 0 either way.
    if profile.b + 125 - max(1, (low + carry) >> 23) <= 127:
        scaled = x * power_of_two32(shift)
    else:
        first = shift.clamp(max=127)
        scaled = (x * power_of_two32(first)).mul_(power_of_two32(shift - first))
    return Quantised(scaled.round_(), exponent)


def power_of_two32(exponent: Tensor) -> Tensor:
    """2^exponent in binary32 from its bits; int32, -126 <= exponent <= 127."""
    return (exponent + 127).bitwise_left_shift_(23).view(torch.float32)


def power_of_two64(exponent: Tensor) -> Tensor:
    """2^exponent in binary64 from its bits; any integer type, -1022 <= exponent <= 1023."""
    return (exponent.to(torch.int64) + 1023).bitwise_left_shift_(52).view(torch.float64)


def scale_and_round(s: Tensor, left: Tensor, right: Tensor, profile: Profile) -> Tensor:
    """RNE32(s * 2^(Ea + Eb - 254 - 2(b-2))), zero -> +0; consumes the binary64 integers `s`.

    Both factors are powers of two and every product is exact, so the cast is the only rounding.
    """
    bias = 125 + profile.b
    s.mul_(power_of_two64(left - bias)).mul_(power_of_two64(right - bias))
    return s.to(torch.float32).add_(0.0)


class BlockedRoute(ABC):
    """GEMM block by block; subclasses provide the exact product of two integer matrices."""

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        """See `Route.gemm`."""
        k = a.shape[-1]
        result: Tensor | None = None
        if a.numel() and b.numel():
            for start in range(0, k, profile.kb):
                stop = min(start + profile.kb, k)
                block = self._block(a[..., start:stop], b[..., start:stop, :], profile)
                result = block if result is None else result.add_(block)
        if result is None:
            return a.new_zeros(*a.shape[:-1], b.shape[-1])
        return result

    def _block(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        left, right = quantise(a, -1, profile), quantise(b, -2, profile)
        s = self.product(left.q, right.q, profile)
        return scale_and_round(s, left.exponent, right.exponent, profile)

    @abstractmethod
    def product(self, qa: Tensor, qb: Tensor, profile: Profile) -> Tensor:
        """Exact `qa . qb` as binary64 integers."""


class Float64Route(BlockedRoute):
    """Binary64 GEMM on the integers: |S| <= 2^40 < 2^53, so every summation order is exact."""

    name = "float64"

    def product(self, qa: Tensor, qb: Tensor, profile: Profile) -> Tensor:  # noqa: ARG002 - one seam for all routes
        return torch.matmul(qa.to(torch.float64), qb.to(torch.float64))


class Int8Route(BlockedRoute):
    """Four int8 products of balanced digits through `torch._int_mm`, int32 accumulation.

    For b = 14 the digits lie in [-64, 64], so that even machines without VNNI, whose int16 pair
    sums saturate, compute exactly. Small and batched products, where calls would dominate, and
    shapes with unit dimensions, where `_int_mm` has defects, take the binary64 GEMM.
    """

    name = "int8"
    smallest_side = 16
    smallest_batched_work = 1 << 21

    def product(self, qa: Tensor, qb: Tensor, profile: Profile) -> Tensor:
        *batch, m, k = qa.shape
        n = qb.shape[-1]
        small = min(m, n, k) < self.smallest_side
        unaligned = qa.device.type == "cuda" and (m <= 16 or n % 8 or k % 8)
        if small or unaligned or (batch and m * n * k < self.smallest_batched_work):
            return torch.matmul(qa.to(torch.float64), qb.to(torch.float64))
        if batch:
            pairs = zip(qa, qb, strict=True)
            return torch.stack([self._product2d(x, y, profile) for x, y in pairs])
        return self._product2d(qa, qb, profile)

    def _product2d(self, qa: Tensor, qb: Tensor, profile: Profile) -> Tensor:
        digit_bits = profile.b // 2
        ah, al = _digits(qa, digit_bits)
        bh, bl = _digits(qb, digit_bits)
        cross = torch._int_mm(ah, bl).add_(torch._int_mm(al, bh))
        low = torch._int_mm(al, bl)
        s = torch._int_mm(ah, bh).to(torch.float64).mul_(float(1 << digit_bits))
        # Every value is an integer below 2^41: binary64 holds it exactly.
        return s.add_(cross).mul_(float(1 << digit_bits)).add_(low)


def _digits(q: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """High and low balanced digits, `q = high * 2^bits + low`, contiguous int8."""
    high = torch.floor(q * (1.0 / (1 << bits)) + 0.5)
    low = q - high * float(1 << bits)
    return high.to(torch.int8).contiguous(), low.to(torch.int8).contiguous()
