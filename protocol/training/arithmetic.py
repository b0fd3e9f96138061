"""The parts of a program that are not the model: clipping, averaging, the optimiser step.

Called by `program.py` inside the numeric engine, on plain tensors. INVARIANTS: every scalar is a
tensor without dimensions that was made outside the engine, never a Python number a library may
round its own way; no branch depends on a value, so the list of operations is static.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from protocol.training.manifest_parts import COLUMNS, AdamWRow

Tensors = Mapping[str, Tensor]

# Stands in for the largest element of a gradient that is zero everywhere.
_TINY: Final = 2.0**-126


def scalar(value: float, device: torch.device) -> Tensor:
    """Hold a binary32 value without dimensions. Made outside the engine."""
    return torch.tensor(value, dtype=torch.float32, device=device)


def row_scalars(row: AdamWRow, device: torch.device) -> dict[str, Tensor]:
    """Hold the scalars of an optimiser step by their column names."""
    return {name: scalar(value, device) for name, value in zip(COLUMNS, row.values(), strict=True)}


def moved(tensors: Tensors, device: torch.device) -> dict[str, Tensor]:
    """Copy tensors to a device; those that are there already are not copied."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


class Clip:
    """Finds the factor that scales gradients down to an L2 norm, taken over all of them together.

    Dividing by the largest element first keeps the squares in range, so that one hostile result
    near the largest float is scaled down like any other instead of ruining the update.
    """

    def __init__(self, limit: float, device: torch.device) -> None:
        self._limit = scalar(limit, device)
        self._one = scalar(1.0, device)
        self._tiny = scalar(_TINY, device)

    def scale(self, gradients: Tensors) -> Tensor:
        """Return the factor, at most 1, without dimensions. Call with names in sorted order."""
        peaks = torch.stack([gradient.abs().amax() for gradient in gradients.values()])
        peak = torch.maximum(peaks.amax(), self._tiny)
        squares = []
        for gradient in gradients.values():
            unit = gradient / peak
            squares.append((unit * unit).sum())
        norm = torch.sqrt(torch.stack(squares).sum())
        return torch.minimum(self._one, (self._limit / peak) / norm)


def average(parts: Sequence[Tensor], count: Tensor) -> Tensor:
    """Divide the exact sum of equal shapes by `count`, their number as a float."""
    return torch.stack(tuple(parts)).sum(dim=0) / count


def adamw(
    parameter: Tensor, first: Tensor, second: Tensor, gradient: Tensor, row: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Take one AdamW step; return the new parameter and its first and second moments.

    Weight decay touches matrices only: a bias or a norm's gain has nothing to decay to.
    """
    if parameter.dim() >= 2:
        parameter = parameter * row["d"]
    first = row["b1"] * first + row["b1c"] * gradient
    second = row["b2"] * second + row["b2c"] * (gradient * gradient)
    parameter = parameter - row["s"] * (first / (torch.sqrt(second) * row["u"] + row["eps"]))
    return parameter, first, second
