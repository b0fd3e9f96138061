"""How much memory a device has for this process, and how much the process took of it.

The processor's is the host's, or its container's where that has a limit, by Linux's own figures; a
GPU's is its own, by CUDA's and by those of PyTorch's allocator.
"""

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

_INFO: Final = Path("/proc/meminfo")
_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
_USED: Final = Path("/sys/fs/cgroup/memory.current")
_KIB: Final = 1024


def total_bytes(device: torch.device) -> int:
    """All memory of the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(host, _number(_LIMIT) or host)


def free_bytes(device: torch.device) -> int:
    """What this process could have in all: what is free now, and what it has itself."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    total = total_bytes(device)
    free = _fields(_INFO).get("MemAvailable", total)
    limit, used = _number(_LIMIT), _number(_USED)
    if limit and used:
        free = min(free, limit - used)
    return min(total, free + _own("VmRSS"))


def forget_peak(device: torch.device) -> None:
    """Begin to measure the peak anew, where the system lets us."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what is kept of earlier work would count as needed
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak of the process's life is then what `peak_bytes` says


def peak_bytes(device: torch.device) -> int:
    """The most that this process has held at once."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return _own("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def _own(name: str) -> int:
    return _fields(Path("/proc/self/status")).get(name, 0)


def _fields(path: Path) -> Mapping[str, int]:
    """Lines such as `VmHWM:  1234 kB`, in bytes."""
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text().splitlines())
    return {
        words[0].rstrip(":"): int(words[1]) * _KIB
        for words in lines
        if len(words) == 3 and words[2] == "kB"
    }


def _number(path: Path) -> int:
    """The number in a file; 0 where there is none, or `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
