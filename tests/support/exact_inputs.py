"""Parameters and inputs of the engine's test models, from integers: no generator takes part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module], Tensor]
Family = tuple[nn.Module, Loss]
"""A module on the CPU, and its loss, which brings its inputs to where the module is."""

VOCABULARY, LENGTH = 48, 12


def tokens(rows: int = 2, seed: int = 0) -> Tensor:
    """Token ids [rows, LENGTH], int64, none of them 0."""
    index = torch.arange(rows * LENGTH, dtype=torch.int64) + 31 * seed
    return (index * 7919 % (VOCABULARY - 1) + 1).reshape(rows, LENGTH)


def signal(*shape: int, seed: int = 0) -> Tensor:
    """Multiples of 2^-10 in [-1, 1), binary32."""
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.int64) + 1000003 * seed
    return ((index * 2654435761 >> 7) % 2048 - 1024).float().div(1024).reshape(shape)


def with_plain_weights(module: nn.Module) -> nn.Module:
    """The module with parameters from integers, in training mode."""
    with torch.no_grad():
        for seed, (_, p) in enumerate(sorted(module.named_parameters()), start=1):
            p.copy_(signal(*p.shape, seed=seed) * 0.25)
            if p.ndim == 1:
                p.add_(0.5)
    return module.train()


def fit(module: nn.Module, x: Tensor) -> Tensor:
    """`x` on the module's device and, if it is a float, in its type, as binary64 judges need it."""
    parameter = next(module.parameters())
    return x.to(parameter.device, parameter.dtype if x.is_floating_point() else x.dtype)
