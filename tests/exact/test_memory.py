"""The engine lets the allocator keep memory between steps, unless it is told not to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from protocol.exact import memory

SCRIPT = """
import resource
import torch
from protocol.exact import exact

with exact(route="float64"):
    pass
faults = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = torch.ones(16 << 20)  # 64 MiB, 16384 pages
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults[1:]))
"""


def faults(setting: str) -> int:
    environment = os.environ | {memory.SWITCH: setting, "GRADPROOF_EXACT_KERNELS": "off"}
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return int(finished.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    assert faults("on") < 100
    assert faults("off") > 10_000
