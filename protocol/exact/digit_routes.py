"""GEMM routes that multiply digits: integers too wide for a matrix unit, cut in two.

An operand's integer is high * 2^d + low with balanced digits, so that int8 and bfloat16 units,
which every accelerator has, compute the exact product in four parts.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from protocol.exact.contraction import BlockedRoute
from protocol.exact.profile import Profile


class DigitRoute(BlockedRoute):
    """Four products of balanced digits: q = high * 2^d + low, d = b / 2, |digit| <= 2^(d-1).

    Subclasses multiply matrices of digits. Small products, where calls would dominate, take the
    binary64 GEMM.
    """

    smallest_side = 16

    def product(self, qa: Tensor, qb: Tensor, profile: Profile) -> Tensor:
        """See `BlockedRoute.product`."""
        m, k, n = *qa.shape[-2:], qb.shape[-1]
        if min(m, n, k) < self.smallest_side or self.too_small(qa.shape[:-2].numel(), m * n * k):
            return torch.matmul(qa.to(torch.float64), qb.to(torch.float64))
        bits = profile.b // 2
        ah, al = (self.left(digits) for digits in _digits(qa, bits))
        bh, bl = (self.right(digits) for digits in _digits(qb, bits))
        # Every value is an integer below 2^41: binary64 holds it exactly.
        s = self.multiply(ah, bh, bits).to(torch.float64).mul_(float(1 << bits))
        s.add_(self.multiply(ah, bl, bits)).add_(self.multiply(al, bh, bits))
        s.mul_(float(1 << bits)).add_(self.multiply(al, bl, bits))
        return s[..., :m, :n]  # without the rows and columns that `left` and `right` may add

    def too_small(self, batch: int, work: int) -> bool:  # noqa: ARG002 - for subclasses
        """Whether `batch` products of `work` multiplications each are not worth the calls."""
        return False

    @abstractmethod
    def left(self, digits: Tensor) -> Tensor:
        """Left digits (whole numbers in binary32) as `multiply` takes them."""

    @abstractmethod
    def right(self, digits: Tensor) -> Tensor:
        """Right digits as `multiply` takes them."""

    @abstractmethod
    def multiply(self, a: Tensor, b: Tensor, bits: int) -> Tensor:
        """Exact product of two matrices, or batches, of `bits`-bit digits, in any type."""


class Int8Route(DigitRoute):
    """Products through `torch._int_mm`, int32 accumulation.

    For b = 14 the digits lie in [-64, 64], so that even machines without VNNI, whose int16 pair
    sums saturate, compute exactly. Unit dimensions, where `_int_mm` has defects, are small
    products. On CUDA it takes aligned shapes only, and it has computed wrong products of row-major
    right operands: those are padded with zeros and stored by columns.
    """

    name = "int8"
    smallest_batched_work = 1 << 21
    aligned_devices = ("cuda",)

    def too_small(self, batch: int, work: int) -> bool:
        """See `DigitRoute.too_small`: batches are multiplied one by one."""
        return batch > 1 and work < self.smallest_batched_work

    def left(self, digits: Tensor) -> Tensor:
        """int8 by rows."""
        if digits.device.type in self.aligned_devices:
            # cuBLAS wants more than 16 rows and a contraction in multiples of 8.
            digits = _padded(digits, max(digits.shape[-2], 32), _up(digits.shape[-1], 16))
        return digits.to(torch.int8).contiguous()

    def right(self, digits: Tensor) -> Tensor:
        """int8 by rows on the CPU, by columns where the device wants alignment."""
        if digits.device.type in self.aligned_devices:
            digits = _padded(digits, _up(digits.shape[-2], 16), _up(digits.shape[-1], 16))
            return digits.mT.to(torch.int8, memory_format=torch.contiguous_format).mT
        return digits.to(torch.int8).contiguous()

    def multiply(self, a: Tensor, b: Tensor, bits: int) -> Tensor:  # noqa: ARG002 - one seam
        """See `DigitRoute.multiply`."""
        if a.ndim == 2:
            return torch._int_mm(a, b)
        return torch.stack([torch._int_mm(x, y) for x, y in zip(a, b, strict=True)])


class Bf16DigitsRoute(DigitRoute):
    """Products of bfloat16 digits with binary32 results, for GPUs whose int8 unit is slow.

    bfloat16 holds the digits exactly. Contractions are cut so that no partial sum exceeds 2^23:
    then binary32 accumulation, in any order and even with truncating adders, loses nothing. TF32
    and other short multiplication formats hold the digits too. Devices without such products use
    binary32 ones, which are exact for the same reason.
    """

    name = "bf16-digits"
    largest_sum = 1 << 23

    def left(self, digits: Tensor) -> Tensor:
        """bfloat16 on CUDA, binary32 elsewhere."""
        return digits.to(torch.bfloat16) if digits.device.type == "cuda" else digits

    def right(self, digits: Tensor) -> Tensor:
        """bfloat16 on CUDA, binary32 elsewhere."""
        return self.left(digits)

    def multiply(self, a: Tensor, b: Tensor, bits: int) -> Tensor:
        """See `DigitRoute.multiply`; binary64, as a sum of chunks may exceed 2^24."""
        chunk = self.largest_sum >> 2 * (bits - 1)
        total: Tensor | None = None
        for start in range(0, a.shape[-1], chunk):
            x, y = a[..., start : start + chunk], b[..., start : start + chunk, :]
            if a.dtype is torch.float32:
                part = torch.matmul(x, y)
            elif a.ndim == 2:
                part = torch.mm(x, y, out_dtype=torch.float32)
            else:
                part = torch.bmm(x, y, out_dtype=torch.float32)
            wide = part.to(torch.float64)
            total = wide if total is None else total.add_(wide)
        assert total is not None, "a small contraction never comes here"
        return total


def _digits(q: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """High and low balanced digits, `q = high * 2^bits + low`, whole numbers in binary32."""
    high = torch.floor(q * (1.0 / (1 << bits)) + 0.5)
    return high, q - high * float(1 << bits)


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    """`x` [..., r, c] with zeros after its rows and columns, up to the given sizes."""
    below, beside = rows - x.shape[-2], columns - x.shape[-1]
    return torch.constant_pad_nd(x, (0, beside, 0, below)) if below or beside else x
