"""Cheats that a worker may play on a development chain, so that anybody can watch them fail.

Each takes an honestly computed result and spoils it; the witness stays the honest one, which is the
strongest form: only the numbers are wrong.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from protocol.exact import result_root
from protocol.role.computer import Tamper
from protocol.role.computing import embedded_main
from protocol.rules.records import JobId
from protocol.training.model import LOSS
from protocol.training.program import Result

Spoil = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def _zero(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """No work at all: every gradient is zero."""
    return {n: t if n == LOSS else torch.zeros_like(t) for n, t in tensors.items()}


def _scaled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Half the work, stretched: every gradient doubled."""
    return {n: t if n == LOSS else 2 * t for n, t in tensors.items()}


def _one_bit(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The smallest lie: the lowest bit of one element."""
    spoilt = dict(tensors)
    name = min(n for n in tensors if n != LOSS)
    flipped = tensors[name].clone().contiguous()
    flipped.view(torch.int32).view(-1)[0] ^= 1
    spoilt[name] = flipped
    return spoilt


SPOILS: dict[str, Spoil] = {"zero": _zero, "scaled": _scaled, "one-bit": _one_bit}


def tamper_with(mode: str) -> Tamper:
    """The cheat of that name: zero, stale, scaled or one-bit."""
    if mode == "stale":
        return _Stale()
    spoil = SPOILS[mode]

    def tamper(_job: JobId, result: Result) -> Result:
        return result if result.is_nonfinite else _with(result, spoil(result.tensors))

    return tamper


class _Stale:
    """Last round's gradient once more: the first honest result of each job, again and again."""

    def __init__(self) -> None:
        self._first: dict[int, Result] = {}

    def __call__(self, job: JobId, result: Result) -> Result:
        kept = self._first.setdefault(job, result)
        return replace(kept, witness=result.witness)


def _with(result: Result, tensors: dict[str, Tensor]) -> Result:
    return replace(result, tensors=tensors, root=result_root(tensors))


if __name__ == "__main__":
    embedded_main(tamper_with(sys.argv[1]))
