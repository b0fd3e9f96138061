"""The loaded library: its C functions, typed, and the instruction level they may use.

ctypes releases the GIL during each call. Instruction levels are chosen at run time, by what the
processor has and by what the caller allows.
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from protocol.exact.errors import KernelsUnavailable
from protocol.exact.hard_cases import hard_cases
from protocol.exact.kernels import build

_log = logging.getLogger(__name__)

SWITCH: Final = "GRADPROOF_EXACT_KERNELS"
"""`off` switches the kernels off; `scalar`, `avx2`, `vnni` or `amx` cap the instruction level."""


_LARGE: Final = 4 << 20  # bytes; below, an allocator has the memory at hand

_INPUTS, _OUTPUTS, _SCALARS = 6, 4, 8  # room for a row kernel's operands
_NOWHERE: Final = (0,) * _INPUTS


class Level(IntEnum):
    """Instruction sets that kernels are written for, as `library.hpp` numbers them."""

    SCALAR = 0
    AVX2 = 1
    VNNI = 2
    AMX = 3


class Status(IntEnum):
    """How a kernel ended, as `library.hpp` numbers it."""

    DONE = 0
    NON_FINITE = 1
    NO_MEMORY = 2


_STATUS: Final = tuple(Status)  # a fifth of the time of Status(...), at every call


class Library:
    """The C functions of one compiled library."""

    def __init__(self, path: Path) -> None:
        try:
            self._dll = ctypes.CDLL(str(path))
        except OSError as error:
            raise KernelsUnavailable(f"{path} cannot be loaded: {error}") from error
        self.level = Level(self._dll.gradproof_level())
        self._gemm = self._dll.gradproof_gemm
        self._gemm.argtypes = [
            *(ctypes.c_int, ctypes.c_int, ctypes.c_void_p),
            *(ctypes.c_void_p, ctypes.c_void_p) * 2,
            ctypes.c_void_p,
        ]
        self._rows = self._dll.gradproof_rows
        self._rows.argtypes = [
            *(ctypes.c_int,) * 3,
            *(ctypes.c_int64,) * 4,
            *(ctypes.c_void_p,) * 3,
        ]
        self._tables = [self._hand_over(i, name) for i, name in enumerate(("exp", "tanh", "log"))]

        self.prefer_huge_pages = self._dll.gradproof_prefer_huge_pages
        self.prefer_huge_pages.argtypes = [ctypes.c_void_p, ctypes.c_int64]

    def _hand_over(self, function: int, name: str) -> ctypes.Array[ctypes.c_uint32]:
        """Give the library one function's hard cases; it reads them from the array returned."""
        pairs = hard_cases()[name]
        words = [word for pair in pairs for word in pair]
        table = (ctypes.c_uint32 * len(words))(*words)
        self._dll.gradproof_hard_cases(function, table, ctypes.c_int64(len(pairs)))
        return table

    def rows(
        self,
        kernel: tuple[int, int, int],
        sizes: tuple[int, int, int, int],
        inputs: Sequence[int],
        outputs: Sequence[int],
        scalars: Sequence[float],
    ) -> Status:
        """Run a row kernel: (kernel, level, threads), (count, share, n, inner), addresses, scalars.

        The addresses are of contiguous tensors; scalars are rounded to binary32.
        """
        status: int = self._rows(
            *kernel,
            *sizes,
            _words((*inputs, *_NOWHERE[len(inputs) : _INPUTS])),
            _words((*outputs, *_NOWHERE[len(outputs) : _OUTPUTS])),
            (ctypes.c_float * _SCALARS)(*scalars) if scalars else None,
        )
        return _STATUS[status]

    def gemm(self, level: Level, a: Tensor, b: Tensor, bits: int, kb: int) -> tuple[Tensor, Status]:
        """`a` [Z, M, K] by `b` [Z, K, N], binary32 on the CPU, rounded to `bits` in blocks of `kb`.

        No size may be zero. The tensor is undefined unless the status is DONE.
        """
        a, b = _walkable(a), _walkable(b)
        z, m, k = a.shape
        n = b.shape[2]
        result = fresh((z, m, n))
        status = self._gemm(
            level,
            torch.get_num_threads(),
            _words((z, m, n, k, kb, bits)),
            a.data_ptr(),
            _words(a.stride()),
            b.data_ptr(),
            _words(b.stride()),
            result.data_ptr(),
        )
        return result, _STATUS[status]


def fresh(shape: Sequence[int]) -> Tensor:
    """An uninitialised binary32 tensor; a large one asks for huge pages, which fault in faster."""
    tensor = torch.empty(shape, dtype=torch.float32)
    if tensor.nbytes >= _LARGE:
        library().prefer_huge_pages(tensor.data_ptr(), tensor.nbytes)
    return tensor


def _walkable(x: Tensor) -> Tensor:
    """`x`, or a copy where neither rows nor columns of its matrices lie side by side."""
    return x if 1 in x.stride()[1:] else x.contiguous()


def _words(values: Sequence[int]) -> bytes:
    """int64 words side by side, which a C function reads through a pointer."""
    return struct.pack(f"{len(values)}q", *values)


def kernel_setting() -> str:
    """What the environment says about kernels, in lower case; empty when it says nothing."""
    return os.environ.get(SWITCH, "").lower()


def allowed_level() -> Level:
    """The highest level the environment allows; raises KernelsUnavailable when it is `off`."""
    return _level_of(kernel_setting())


@lru_cache(maxsize=16)
def _level_of(word: str) -> Level:
    if word in ("off", "0", "no", "false"):
        raise KernelsUnavailable(f"{SWITCH}={word} switches them off")
    if word in ("", "on", "1", "yes", "true"):
        return max(Level)
    if word.upper() not in Level.__members__:
        raise KernelsUnavailable(f"{SWITCH}={word} is not one of off, scalar, avx2, vnni, amx")
    return Level[word.upper()]


def best_level() -> Level:
    """The highest level that processor and environment allow; raises KernelsUnavailable."""
    return min(_level_of(kernel_setting()), library().level)


def library() -> Library:
    """The library of this process, built and loaded at the first call.

    Raises KernelsUnavailable, after a warning in the log the first time.
    """
    loaded = _load()
    if isinstance(loaded, KernelsUnavailable):
        raise loaded
    return loaded


@lru_cache(maxsize=1)
def _load() -> Library | KernelsUnavailable:
    try:
        return Library(build.library_path())
    except KernelsUnavailable as unavailable:
        _log.warning("%s", unavailable)
        return unavailable
