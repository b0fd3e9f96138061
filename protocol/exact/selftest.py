"""Known answers that a machine must reproduce before its results count.

Operands come from integer arithmetic alone; the answers are constants of the profile, computed by
the big-integer reference of the test suite. The tests run through the same code as a task.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from protocol.exact.errors import FlushToZero, SelfTestFailed
from protocol.exact.gemm import Route
from protocol.exact.profile import Profile
from protocol.exact.roots import tensor_root

_GEMM_ANSWERS: Final[dict[tuple[int, int], str]] = {}

_SMALLEST: Final = 2.0**-149


def require_subnormals() -> None:
    """Raise FlushToZero unless every computing thread keeps subnormal numbers."""
    # ATen hands out grains of 32768 elements: this many let each thread take part.
    x = torch.full((torch.get_num_threads() * 65536,), _SMALLEST)
    kept = (x * 0.5 + x) * 2.0 == 2 * _SMALLEST
    if not bool(kept.all()):
        raise FlushToZero


def check_gemm(route: Route, profile: Profile) -> None:
    """Raise SelfTestFailed unless `route` gives the profile's known answer."""
    a, b = gemm_operands()
    got = tensor_root(route.gemm(a, b, profile)).hex()
    known = _GEMM_ANSWERS.get((profile.b, profile.kb))
    if known is not None and got != known:
        raise SelfTestFailed(f"route {route.name}: root {got[:16]} instead of {known[:16]}")


def gemm_operands() -> tuple[Tensor, Tensor]:
    """Deterministic operands [24, 1056] and [1056, 24]: full digits, wide exponents, subnormals."""
    return _operand(24, 1056, 1), _operand(1056, 24, 2)


def _operand(rows: int, columns: int, seed: int) -> Tensor:
    state = torch.arange(rows * columns, dtype=torch.int64) + (seed << 32)
    for multiplier in (0x9E3779B97F4A7C15 - (1 << 64), 0xD1B54A32D192ED03 - (1 << 64)):
        state = (state ^ ((state >> 29) & 0x7FFFFFFFF)) * multiplier
    return ((state >> 32) & 0xFFFF).to(torch.float32).reshape(rows, columns)
