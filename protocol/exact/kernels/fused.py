"""The seam between compositions and the kernels that may replace them.

    @fused(rows.softmax)
    def softmax(x, dim): ...

A kernel returns None where it does not cover the call (layout, device, or an operand that is not
finite, so that the composition raises its own error). Before a kernel serves with a thread count
and an instruction level, it must return the composition's bits on operands chosen to break it; one
that does not is switched off with a warning.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, Final, ParamSpec, TypeVar

import torch
from torch import Tensor

from protocol.exact.errors import KernelsUnavailable
from protocol.exact.kernels import samples
from protocol.exact.kernels.library import Level, best_level

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)

KERNELS: Final[dict[str, tuple[Callable[..., Any], Callable[..., Any]]]] = {}
"""Name -> (kernel, the composition it may replace)."""


class _State(threading.local):
    compositions = False


_state = _State()


@contextmanager
def compositions_only() -> Iterator[None]:
    """No row kernel serves the calling thread inside this block."""
    before, _state.compositions = _state.compositions, True
    try:
        yield
    finally:
        _state.compositions = before


def fused(kernel: Callable[P, R | None]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let `kernel` answer for the decorated composition wherever it covers the call."""
    name = kernel.__name__

    def decorate(composition: Callable[P, R]) -> Callable[P, R]:
        KERNELS[name] = kernel, composition

        @wraps(composition)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if serves(name):
                result = kernel(*args, **kwargs)
                if result is not None:
                    return result
            return composition(*args, **kwargs)

        return call

    return decorate


def serves(name: str) -> bool:
    """Whether the kernel may be asked now: allowed, built, and right in its self-test."""
    if _state.compositions:
        return False
    try:
        level = best_level()
    except KernelsUnavailable:
        return False
    return passes(name, level, torch.get_num_threads())


@lru_cache(maxsize=256)
def passes(name: str, level: Level, threads: int) -> bool:
    """Whether the kernel returns its composition's bits on every sample."""
    kernel, composition = KERNELS[name]
    for arguments in samples.of(name):
        got = kernel(*arguments)
        with compositions_only():
            want = composition(*arguments)
        if got is None or not _same_bits(got, want):
            _log.warning(
                "kernel %s (%s, %d threads) is switched off: it differs from its composition",
                name,
                level.name.lower(),
                threads,
            )
            return False
    return True


def _same_bits(got: Any, want: Any) -> bool:
    if isinstance(want, tuple):
        return len(got) == len(want) and all(map(_same_bits, got, want))
    assert isinstance(got, Tensor), "kernels return tensors"
    assert isinstance(want, Tensor), "compositions return tensors"
    nan = torch.isnan(want)
    equal = got.view(torch.int32).eq(want.view(torch.int32)) | (nan & torch.isnan(got))
    return got.shape == want.shape and bool(equal.all())
