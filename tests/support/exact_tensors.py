"""Binary32 tensors from bit patterns and back, and the patterns worth trying."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

ZERO, MINUS_ZERO, ONE, INFINITY, NAN = 0, 0x80000000, 0x3F800000, 0x7F800000, 0x7FC00000
LARGEST, SMALLEST, SMALLEST_NORMAL = 0x7F7FFFFF, 1, 0x00800000

EDGES = (
    *(ZERO, MINUS_ZERO, ONE, LARGEST, SMALLEST, SMALLEST_NORMAL),
    *(0x80000001, 0x007FFFFF, 0x00800001, 0xBF800000, 0x3F800001, 0x3F7FFFFF),
    *(0x4B800000, 0x4B800001, 0x3F000000, 0x33800000, 0xB3800000, 0x34000000),
    *(0xFF7FFFFF, 0x40490FDB, 0x1FFFFFFF, 0x5F000000, 0x20000000, 0x00000003),
)
"""Finite patterns where rounding, sign or range turns: zeros, subnormals, ties, extremes."""


def from_bits(bits: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
    """Unsigned 32-bit patterns as a binary32 tensor."""
    with _disable_current_modes():  # reinterpreting bits is no operation of the profile
        return torch.tensor(bits, dtype=torch.int64).to(torch.int32).view(torch.float32)


def to_bits(t: Tensor) -> list[int]:
    """The unsigned 32-bit patterns of a binary32 tensor, flattened in row-major order."""
    assert t.dtype is torch.float32
    with _disable_current_modes():
        words = t.detach().contiguous().view(torch.int32).flatten().tolist()
    return [b & 0xFFFFFFFF for b in words]


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal shape and equal bits, so that -0 differs from +0."""
    return a.shape == b.shape and to_bits(a) == to_bits(b)


def patterns(count: int, seed: int, exponents: tuple[int, int] = (1, 254)) -> list[int]:
    """Finite patterns: the edges inside the exponent range, then pseudo-random ones."""
    low, high = exponents
    found = [b for b in EDGES if low <= (b >> 23 & 0xFF) <= high][:count]
    state = seed * 2654435761 + 12345
    while len(found) < count:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        word = state >> 32
        exponent = low + (word >> 24) % (high - low + 1)
        found.append((word & 1) << 31 | exponent << 23 | (word >> 1 & 0x7FFFFF))
    return found


def layouts(t: Tensor) -> dict[str, Tensor]:
    """The same values in storage orders that stock kernels treat differently."""
    wide = torch.full((*t.shape[:-1], 2 * t.shape[-1] + 1), 7.0)
    wide[..., 1::2] = t
    offset = torch.full((t.numel() + 3,), 7.0)
    offset[3:] = t.flatten()
    return {
        "contiguous": t.contiguous(),
        "transposed": t.transpose(0, -1).contiguous().transpose(0, -1),
        "strided": wide[..., 1::2],
        "offset": offset[3:].reshape(t.shape),
    }
