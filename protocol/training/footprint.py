"""How much memory a task needs at the least, from its manifest alone; nothing is allocated.

A floor, not a forecast: what must be there at one moment however the engine works. A job whose
floor is over a machine's memory is refused before its first tensor; what it takes is measured.
"""

from collections.abc import Callable
from math import prod
from typing import Final

from protocol.training.errors import ProgramError
from protocol.training.manifest import Manifest
from protocol.training.model_config import FamilyConfig, Gpt2Config
from protocol.training.shapes import shapes_of

FLOAT: Final = 4
_STATE: Final = 3
"""Tensors of a state per parameter: the parameter and two moments."""
_GRADIENTS: Final = 2
"""The sum so far, and the gradient that is added to it."""


def task_bytes(manifest: Manifest) -> int:
    """The least bytes that one task of this job holds at once: state, gradients, activations."""
    copies = _STATE + _GRADIENTS
    tokens = manifest.batch.sequences * manifest.sequence_length
    kept = KEPT[manifest.model.family](manifest.model, tokens, manifest.sequence_length)
    return FLOAT * (copies * parameters(manifest.model) + kept)


def require_memory(manifest: Manifest, free: int) -> None:
    """Raise `ProgramError` where a task's floor is over `free` bytes: before anything is made."""
    needed = task_bytes(manifest)
    if needed > free:
        raise ProgramError(
            f"a task needs at least {mib(needed)}, and {mib(free)} can be had here",
            why=f"The model has {parameters(manifest.model):,} parameters.",
            fix="Leave this job to larger machines, or free memory.",
        )


def mib(size: int) -> str:
    """Bytes in words."""
    return f"{size / 2**20:,.0f} MiB"


def parameters(model: FamilyConfig) -> int:
    """How many numbers a model has, tied weights once."""
    return sum(prod(shape) for shape in shapes_of(model).values())


def _gpt2_kept(model: FamilyConfig, tokens: int, length: int) -> int:
    """Numbers that a backward pass needs of its forward pass."""
    assert isinstance(model, Gpt2Config)
    # Inputs of the four products of a block, its queries, keys and values; attention; logits.
    block = tokens * (1 + 3 + 1 + 1 + 4) * model.width + tokens * model.heads * length
    return model.layers * block + tokens * model.vocabulary


KEPT: Final[dict[str, Callable[[FamilyConfig, int, int], int]]] = {"gpt2": _gpt2_kept}
