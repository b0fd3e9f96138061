"""Calls of mixture-of-experts blocks: one GEMM per expert, and counts of tokens per expert."""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.exact import elementwise
from protocol.exact.handlers import Engine, Refused


def grouped_mm(
    engine: Engine,
    a: Tensor,
    b: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """One GEMM per group; group i ends before `offs[i]`. Places outside all groups are +0.

    [T, K] x [G, K, N]: groups of rows. [M, T] x [T, N]: groups of the contraction, [G, M, N].
    [G, M, K] x [K, T]: groups of columns. [G, M, K] x [G, K, N]: a batched product.
    """
    if bias is not None or out_dtype not in (None, torch.float32):
        raise Refused("a grouped product has no bias and is binary32")
    if a.dtype is not torch.float32 or b.dtype is not torch.float32:
        raise Refused("it is defined for float32 operands only")
    if offs is None:
        return engine.gemm(a, b)
    ends = offs.tolist()
    groups = list(enumerate(zip([0, *ends[:-1]], ends, strict=True)))
    if a.ndim == 2 and b.ndim == 2:
        out = a.new_zeros(len(ends), a.shape[0], b.shape[1])
        for i, (start, end) in groups:
            out[i] = engine.gemm(a[:, start:end], b[start:end])
        return out
    if a.ndim == 2:
        out = a.new_zeros(a.shape[0], b.shape[2])
        for i, (start, end) in groups:
            out[start:end] = engine.gemm(a[start:end], b[i])
        return out
    out = a.new_zeros(a.shape[1], b.shape[1])
    for i, (start, end) in groups:
        out[:, start:end] = engine.gemm(a[i], b[:, start:end])
    return out


def histogram(_: Engine, x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:  # noqa: A002 - ATen's names
    """Counts of trunc((x - min) * bins / (max - min)); `max` falls into the last bin."""
    if not min < max:
        raise Refused("give the range: the data's own is not defined")
    values = elementwise.binary32(x, x).reshape(-1)
    inside = values[(values >= min) & (values <= max)]
    scaled = elementwise.mul(elementwise.sub(inside, float(min)), float(bins))
    place = elementwise.div(scaled, float(max) - float(min)).to(torch.int64)
    counts = torch.bincount(place.clamp_(max=bins - 1), minlength=bins)
    return counts.to(x.dtype)
