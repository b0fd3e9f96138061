"""Correctly rounded exp, log, tanh, erf, sin, cos, log1p, expm1.

The profile defines each as the real function rounded once to binary32. Any binary64 evaluation
within 3 ulp gives those bits except near a rounding boundary: the 564 inputs where that can matter,
found by searching all 2^32, are shipped with their answers in `hard_cases.txt` and looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

import torch
from torch import Tensor

from protocol.exact.hard_cases import hard_cases
from protocol.exact.kernels import rows
from protocol.exact.kernels.fused import fused
from protocol.exact.parts import part_by_part

# The 29 binary64 fraction bits that the cast to binary32 drops; a boundary is their midpoint.
# A hard case lies within 6 ulp of it and the evaluation within 3 ulp of the truth: 16 covers both.
# No hard case has a subnormal result, where the boundary would sit at other bits (tested).
_KEPT: Final = 64 - 29
_JUST_ABOVE: Final = -(1 << 63) + (16 << _KEPT)
_JUST_BELOW: Final = (1 << 63) - (16 << _KEPT)


@fused(rows.exp)
def exp(x: Tensor) -> Tensor:
    """e to the power of each element, correctly rounded."""
    return _rounded("exp", torch.exp, x)


def log(x: Tensor) -> Tensor:
    """Natural logarithm of each element, correctly rounded; log(0) = -Inf, log(<0) = NaN."""
    return _rounded("log", torch.log, x)


@fused(rows.tanh)
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent of each element, correctly rounded."""
    return _rounded("tanh", torch.tanh, x)


def erf(x: Tensor) -> Tensor:
    """Error function of each element, correctly rounded."""
    return _rounded("erf", torch.erf, x)


def sin(x: Tensor) -> Tensor:
    """Sine of each element (radians), correctly rounded over the whole binary32 range."""
    return _rounded("sin", torch.sin, x)


def cos(x: Tensor) -> Tensor:
    """Cosine of each element (radians), correctly rounded over the whole binary32 range."""
    return _rounded("cos", torch.cos, x)


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) of each element, correctly rounded."""
    return _rounded("log1p", torch.log1p, x)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1 of each element, correctly rounded."""
    return _rounded("expm1", torch.expm1, x)


def _rounded(name: str, evaluate: Callable[..., Tensor], x: Tensor) -> Tensor:
    """`evaluate` in binary64, rounded once, part by part."""
    return part_by_part(partial(_rounded_part, name, evaluate), x)


def _rounded_part(name: str, evaluate: Callable[..., Tensor], x: Tensor) -> Tensor:
    value = x.to(torch.float64)
    evaluate(value, out=value)
    result = value.to(torch.float32)
    if x.numel():
        # The dropped bits at the top of a signed word: the midpoint is the smallest one, what lies
        # below it the largest. Two extremes are found faster than a mask of distances.
        dropped = value.view(torch.int64) << _KEPT
        low, high = torch.stack(torch.aminmax(dropped)).tolist()
        if low <= _JUST_ABOVE or high >= _JUST_BELOW:
            near = (dropped <= _JUST_ABOVE) | (dropped >= _JUST_BELOW)
            _replace_hard_cases(name, x, near, result)
    return result


def _replace_hard_cases(name: str, x: Tensor, near: Tensor, result: Tensor) -> None:
    inputs, answers = _table(name, x.device)
    bits = x[near].view(torch.int32)
    slot = torch.bucketize(bits, inputs).clamp_(max=len(inputs) - 1)
    corrected = torch.where(inputs[slot] == bits, answers[slot], result[near].view(torch.int32))
    result[near] = corrected.view(torch.float32)


@lru_cache(maxsize=64)
def _table(name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The hard cases of one function, sorted by their signed input bits."""
    pairs = torch.tensor(hard_cases()[name], dtype=torch.int64, device=device).to(torch.int32)
    order = torch.argsort(pairs[:, 0])
    return pairs[order, 0].contiguous(), pairs[order, 1].contiguous()
