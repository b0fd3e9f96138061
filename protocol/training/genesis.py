"""State S_0, drawn from a seed in integers.

The authoring side publishes it; anybody may draw it again. INVARIANT: the same configuration and
seed give the same bits on every machine: SHAKE-256 gives the randomness, sums of integers replace
the normal distribution, and one binary64 product is rounded once to binary32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from protocol.training.model import (
    ADAM_M,
    ADAM_V,
    PARAM,
    STEP,
    VALIDATION_LOSS,
    ModelSource,
    parameter_shapes,
)
from protocol.training.model_config import FamilyConfig

# The sum of 12 uniform values has variance 1: Irwin and Hall's approximation of the normal.
_TERMS: Final = 12
_CENTRE: Final = _TERMS * 65535 // 2
_BLOCK: Final = 1 << 20
_WIDTH: Final = 0.02


def genesis_state(source: ModelSource, seed: int) -> dict[str, Tensor]:
    """Draw the first state of a job; its moments, its step and its validation loss are zero.

    `seed` is any non-negative integer below 2^64.
    """
    family = source.model.family
    state: dict[str, Tensor] = {}
    for name, shape in parameter_shapes(source).items():
        state[f"{PARAM}{name}"] = _RULES[family](source.model, name, shape, seed)
        state[f"{ADAM_M}{name}"] = torch.zeros(shape)
        state[f"{ADAM_V}{name}"] = torch.zeros(shape)
    state[STEP] = torch.zeros((), dtype=torch.int64)
    state[VALIDATION_LOSS] = torch.zeros(())
    return state


def _gpt2(config: FamilyConfig, name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    if name.endswith(".bias"):
        return torch.zeros(shape)
    if ".ln_" in name and name.endswith(".weight"):
        return torch.ones(shape)
    # What adds to the residual stream starts smaller, the deeper the model.
    residual = name.endswith("c_proj.weight")
    width = _WIDTH / math.sqrt(2 * config.layers) if residual else _WIDTH
    return _normal(f"{seed}/{name}", shape, width)


def _normal(label: str, shape: tuple[int, ...], width: float) -> Tensor:
    count = math.prod(shape)
    values = np.empty(count, dtype=np.float32)
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        stream = hashlib.shake_256(f"gradproof/genesis/{label}/{start}".encode())
        words = np.frombuffer(stream.digest(size * _TERMS * 2), dtype="<u2")
        sums = words.reshape(size, _TERMS).sum(axis=1, dtype=np.int64) - _CENTRE
        # Integers up to 2^20 times one binary64 scalar: rounded once there, once to binary32.
        values[start : start + size] = sums.astype(np.float64) * (width / 65536)
    return torch.from_numpy(values).reshape(shape)


_RULES: Final[dict[str, Callable[[FamilyConfig, str, tuple[int, ...], int], Tensor]]] = {
    "gpt2": _gpt2
}
