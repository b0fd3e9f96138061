"""Dropout from addressed random bits, the same on every device.

Replaces the library's dropout above autograd: x * (kept / (1 - p)), an element is kept where its
uniform number is at least p. Feature dropout draws once per sample and channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.exact.handlers import Engine, Refused


def dropout(engine: Engine, x: Tensor, p: float, train: bool) -> Tensor:
    """x * (kept / (1 - p)); `x` itself when nothing can be dropped."""
    return _dropped(engine, x, p, train, list(x.shape))


def dropout_in_place(engine: Engine, x: Tensor, p: float, train: bool) -> Tensor:
    """`dropout`, written into `x`."""
    noise = _noise(engine, x, p, list(x.shape)) if train and p > 0 else None
    return x if noise is None else x.mul_(noise)


def feature_dropout(engine: Engine, x: Tensor, p: float, train: bool) -> Tensor:
    """`dropout` of whole channels: `x` [N, C, ...]."""
    if x.ndim < 2:
        raise Refused("feature dropout needs [N, C, ...]")
    return _dropped(engine, x, p, train, [*x.shape[:2], *[1] * (x.ndim - 2)])


def _dropped(engine: Engine, x: Tensor, p: float, train: bool, shape: list[int]) -> Tensor:
    return x * _noise(engine, x, p, shape) if train and p > 0 else x


def _noise(engine: Engine, x: Tensor, p: float, shape: list[int]) -> Tensor:
    if not 0 <= p <= 1:
        raise Refused(f"a probability lies in [0, 1], not {p}")
    if engine.draws is None:
        raise Refused("dropout with p > 0 draws random numbers: enter exact(seed=...)")
    with torch.no_grad():
        if p == 1:
            return torch.zeros(shape, dtype=torch.float32, device=x.device)
        kept = engine.draws.uniform(shape, x.device) >= p
        return kept.to(torch.float32) / (1.0 - p)
