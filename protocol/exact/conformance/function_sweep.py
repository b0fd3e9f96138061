"""The functions over all binary32 inputs, hashed as a stream, one implementation at a time.

The hash covers the little-endian results of inputs 0, s, 2s, ... (mod 2^32) in this order, NaN as
7fc00000; s is the stride: 1 for all 2^32 inputs, 257 for 2^24 of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files
from typing import Final

import torch
from torch import Tensor

from protocol.exact import functions
from protocol.exact.conformance.runner import row_settings, threads
from protocol.exact.kernels import fused
from protocol.exact.roots import canonical_bytes

NAMES: Final = ("exp", "log", "tanh", "erf", "sin", "cos", "log1p", "expm1")
COUNTS: Final = {1: 1 << 32, 257: 1 << 24}
"""Stride -> number of inputs."""

_STRETCH: Final = 1 << 20  # inputs at a time: some 30 MiB of working memory for each core

Evaluate = Callable[[Tensor], Tensor]
Progress = Callable[[float], None]


def recorded_hashes() -> dict[int, dict[str, str]]:
    """Stride -> function -> committed SHA-256."""
    text = files("protocol.exact.conformance").joinpath("function_hashes.json").read_text("ascii")
    return {int(stride): hashes for stride, hashes in json.loads(text).items()}


def implementations(name: str, device: torch.device) -> Iterator[tuple[str, str, Evaluate]]:
    """(label, setting of the row kernels, function): PyTorch, then each level of a kernel."""
    yield "PyTorch", "off", getattr(functions, name)
    if name not in fused.KERNELS:
        return
    kernel = fused.KERNELS[name][0]
    for setting in row_settings(device):
        if setting != "off":
            yield f"kernel {setting}", setting, kernel


def digest(
    evaluate: Evaluate,
    stride: int = 1,
    device: torch.device | None = None,
    progress: Progress = lambda _: None,
) -> str:
    """SHA-256 in hex of `evaluate` over the inputs of `stride`; `progress` gets 0 to 1.

    Stretches are computed ahead, one thread of torch each, and hashed in order.
    """
    sha, total, cores = hashlib.sha256(), COUNTS[stride], os.cpu_count() or 1

    def stretch(start: int) -> bytes:
        count = min(_STRETCH, total - start)
        return canonical_bytes(evaluate(inputs(start, count, stride, device)))

    waiting: deque[Future[bytes]] = deque()
    with threads(1), ThreadPoolExecutor(cores) as pool:
        for start in range(0, total, _STRETCH):
            waiting.append(pool.submit(stretch, start))
            if len(waiting) > 2 * cores:
                sha.update(waiting.popleft().result())
                progress(start / total)
        while waiting:
            sha.update(waiting.popleft().result())
    return sha.hexdigest()


def inputs(start: int, count: int, stride: int, device: torch.device | None = None) -> Tensor:
    """Inputs number `start` to `start + count` of a stride, binary32."""
    number = torch.arange(start, start + count, dtype=torch.int64, device=device)
    return number.mul_(stride).to(torch.int32).view(torch.float32)
