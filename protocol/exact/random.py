"""Random bits that every machine draws alike: Philox4x32-10 in integer operations.

A draw is addressed, never consumed: key from the task's seed, counter = (stream, step, operation,
element). No library generator takes part, and no state exists that an order could change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import torch
from torch import Tensor

_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_WORD: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Draw:
    """Address of a tensor of random numbers: 64-bit key and three 32-bit counter words."""

    key: int
    stream: int = 0
    step: int = 0
    operation: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.key < 1 << 64:
            raise ValueError("the key is an unsigned 64-bit number")
        if not all(0 <= word <= _WORD for word in (self.stream, self.step, self.operation)):
            raise ValueError("stream, step and operation are unsigned 32-bit numbers")


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox4x32-10: four int64 tensors of 32-bit counter words to four of output words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The 64-bit products wrap in int64, which keeps all 64 bits; masks undo the sign.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = ((p1 >> 32) & _WORD) ^ c1 ^ k0, p1 & _WORD
        c2, c3 = ((p0 >> 32) & _WORD) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return [c0, c1, c2, c3]


def random_bits(draw: Draw, shape: Sequence[int], device: torch.device | None = None) -> Tensor:
    """32 random bits per element as int64 in [0, 2^32); element i is row-major index i."""
    count = prod(shape)
    if count > _WORD:
        raise ValueError(f"{count} elements: one draw addresses fewer than 2^32")
    element = torch.arange(count, dtype=torch.int64, device=device)
    words = [torch.full_like(element, w) for w in (draw.stream, draw.step, draw.operation)]
    key = (draw.key & _WORD, draw.key >> 32)
    return philox([*words, element], key)[0].reshape(list(shape))


def uniform(draw: Draw, shape: Sequence[int]) -> Tensor:
    """binary32 uniform on [0, 1): the top 24 bits times 2^-24."""
    return (random_bits(draw, shape) >> 8).to(torch.float32) * 2.0**-24
