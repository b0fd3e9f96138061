"""Random numbers of a block: every draw of the program gets the next operation id.

The id is counted in the seed of torch's default generator, so that whatever saves and restores
that generator replays the same draws: gradient checkpointing computes a layer twice and must drop
the same elements twice. No number of that generator is ever used, and it is left as it was found.

INVARIANT: a number depends on (seed, stream, step, operation id, element index) alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from protocol.exact.errors import InvalidSeed, RandomnessInUse
from protocol.exact.random import Draw, random_bits

_MARK: Final = 0x4752_4144 << 32
"""High half of the generator's seed while a block counts in it; a foreign seed has another."""

# The default generator belongs to the process: two blocks counting in it would disturb each other.
_alone = threading.RLock()


@dataclass(frozen=True, slots=True)
class Draws:
    """The addresses from which one block draws, in the order of its program."""

    first: Draw

    def bits(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """32 random bits per element as int64, under the next operation id.

        Raises InvalidSeed if the block's code seeded torch's generator.
        """
        generator = torch.default_generator
        operation = generator.initial_seed() - _MARK
        if not 0 <= operation < 1 << 32:
            raise InvalidSeed(
                "torch's generator was seeded inside exact(): its state no longer says which draw "
                "comes next; seed with exact(seed=...) and drop torch.manual_seed from the block"
            )
        generator.manual_seed(_MARK + operation + 1)
        with _disable_current_modes():
            return random_bits(replace(self.first, operation=operation), shape, device)

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """binary32 uniform on [0, 1): the top 24 bits times 2^-24."""
        bits = self.bits(shape, device)
        with _disable_current_modes():
            return (bits >> 8).to(torch.float32) * 2.0**-24


@contextmanager
def drawing(seed: int | None, stream: int, step: int) -> Iterator[Draws | None]:
    """Count the draws of the block from operation 0; without a seed there are none.

    Raises InvalidSeed for numbers out of range, RandomnessInUse while another thread is inside.
    """
    if seed is None:
        yield None
        return
    try:
        draws = Draws(Draw(seed, stream, step))
    except ValueError as error:
        raise InvalidSeed(f"exact(seed={seed}, stream={stream}, step={step}): {error}") from None
    if not _alone.acquire(blocking=False):
        raise RandomnessInUse
    found = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(_MARK)
        yield draws
    finally:
        torch.default_generator.set_state(found)
        _alone.release()
