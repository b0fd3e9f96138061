"""Exact GEMM: quantised operands, exact integer dot products, one rounding per block.

`C[M, N] = A[M, K] . B[K, N]`, cut into blocks of `kb` consecutive k. In a block every row of A and
every column of B gets one power-of-two scale, its elements become integers of `b` bits, their
products are summed exactly, and the sum is rounded once to binary32; blocks are folded in ascending
order by binary32 additions. How a block's integer product is computed is the route's business.

INVARIANT: routes differ in speed only; every route returns the same bits for the same operands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from protocol.exact.errors import NonFinite
from protocol.exact.parts import slices, whole
from protocol.exact.profile import Profile

_PART: Final = 1 << 18  # elements rounded at a time; shorter parts lose their gain to small calls
_BATCH: Final = 1 << 19  # elements of a batch's largest operand or result multiplied at a time

_MAGNITUDE: Final = 0x7FFFFFFF
_INFINITY: Final = 0x7F800000


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


def gemm(route: Route, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
    """`a . b` by `route`; a contraction over one index is one binary32 product per element.

    Raises NonFinite when an operand holds a NaN or an infinity.
    """
    if a.shape[-1] != 1:
        return route.gemm(a, b, profile)
    if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
        raise NonFinite("gemm", "an operand holds a NaN or an infinity")
    return (a * b).add_(0.0)


@dataclass(frozen=True, slots=True)
class Quantised:
    """Integers (held in binary32, |q| < 2^15) and the exponent field of each row's scale."""

    q: Tensor
    exponent: Tensor


def largest_magnitudes(x: Tensor, dim: int, op: str) -> tuple[Tensor, int, int]:
    """Bits of the largest magnitude of each run along `dim`, kept as an axis; their extremes.

    Raises NonFinite, naming `op`, when `x` holds a NaN or an infinity.
    """
    # Two passes that only read cost half of clearing the signs first (PyTorch 2.13, AVX512).
    most = torch.maximum(x.amax(dim, keepdim=True), x.amin(dim, keepdim=True).neg_())
    m = most.view(torch.int32).bitwise_and_(_MAGNITUDE)
    low, high = map(int, torch.stack(torch.aminmax(m)).tolist())  # one wait for the device
    if high >= _INFINITY:
        raise NonFinite(op, "an operand holds a NaN or an infinity")
    return m, low, high


def quantise(x: Tensor, dim: int, profile: Profile) -> Quantised:
    """Round `x` to b-bit integers with one scale per run along `dim` (at most kb long).

    Raises NonFinite when `x` holds a NaN or an infinity.
    """
    m, low, _ = largest_magnitudes(x, dim, "gemm")
    exponent = (m + profile.exponent_carry).bitwise_right_shift_(23).clamp_(min=1)
    shift = (profile.b + 125) - exponent
    # 2^shift may exceed binary32's range for tiny rows: then scale in two exact steps. Scaling
    # down is inexact only where the quotient is far below 1/2 and rounds to 0 either way.
    if profile.b + 125 - max(low + profile.exponent_carry >> 23, 1) <= 127:
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


def round_to_units(x: Tensor, dim: int, profile: Profile) -> Tensor:
    """What `quantise` makes, times its scale: binary64 multiples of a unit per run along `dim`."""
    if whole(x, _PART):
        return _rounded_to_units(x, dim, profile).to(torch.float64)
    result = torch.empty_like(x, dtype=torch.float64)
    axis = -3 - dim  # the matrix's other axis
    size = slices(x, axis, _PART)
    for part, out in zip(torch.split(x, size, axis), torch.split(result, size, axis), strict=True):
        out.copy_(_rounded_to_units(part, dim, profile))
    return result


def _rounded_to_units(x: Tensor, dim: int, profile: Profile) -> Tensor:
    # Adding 1.5 units of the last binade leaves no bits below the unit: the addition itself rounds.
    m, _, high = largest_magnitudes(x, dim, "gemm")
    m += profile.exponent_carry
    above = 25 - profile.b  # from a run's exponent field to that of 2^23 of its units
    if (high + profile.exponent_carry >> 23) + above < _INFINITY >> 23:
        magic = m.clamp_(min=1 << 23).bitwise_and_(_INFINITY).add_(above << 23 | 1 << 22)
        return (x + magic.view(torch.float32)).sub_(magic.view(torch.float32))
    exponent = m.bitwise_right_shift_(23).clamp_(min=1)
    wide = power_of_two64(exponent - (profile.b + 125) + 52).mul_(1.5)
    return x.to(torch.float64).add_(wide).sub_(wide)


def fold_blocks(
    block: Callable[[Tensor, Tensor, Profile], Tensor], a: Tensor, b: Tensor, profile: Profile
) -> Tensor:
    """The blocks' products, added in ascending order; a product over nothing is +0."""
    result: Tensor | None = None
    if a.numel() and b.numel():
        for start in range(0, a.shape[-1], profile.kb):
            stop = min(start + profile.kb, a.shape[-1])
            part = block(a[..., start:stop], b[..., start:stop, :], profile)
            result = part if result is None else result.add_(part)
    if result is None:
        return a.new_zeros(*a.shape[:-1], b.shape[-1])
    return result


class BlockedRoute(ABC):
    """GEMM block by block; subclasses provide the exact product of two integer matrices."""

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        """See `Route.gemm`."""
        return fold_blocks(self._block, a, b, profile)

    def _block(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        left, right = quantise(a, -1, profile), quantise(b, -2, profile)
        s = self.product(left.q, right.q, profile)
        return scale_and_round(s, left.exponent, right.exponent, profile)

    @abstractmethod
    def product(self, qa: Tensor, qb: Tensor, profile: Profile) -> Tensor:
        """Exact `qa . qb` as binary64 integers."""


class Float64Route:
    """Binary64 GEMM on the rounded operands.

    They stay where they are on the number line: multiples of their runs' units, which differ from
    the integers by a power of two per row and column. So each sum is an integer below 2^40 times
    one power of two, exact in every order, and its cast is the only rounding.
    """

    name = "float64"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        """See `Route.gemm`."""
        return fold_blocks(self._block, a, b, profile)

    def _block(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        if a.ndim == 2 or a.device.type != "cpu":
            return _product(a, b, profile)
        result = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
        # A few matrices at a time: their binary64 copies stay in a cache.
        size = min(slices(t, 0, _BATCH) for t in (a, b, result))
        parts = (torch.split(t, size) for t in (a, b, result))
        for x, y, out in zip(*parts, strict=True):
            out.copy_(_product(x, y, profile))
        return result


def _product(a: Tensor, b: Tensor, profile: Profile) -> Tensor:
    left, right = round_to_units(a, -1, profile), round_to_units(b, -2, profile)
    return torch.matmul(left, right).to(torch.float32).add_(0.0)
