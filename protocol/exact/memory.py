"""What the engine asks of the process's memory allocator.

By default glibc hands large freed blocks back to the kernel, which clears every page again before
its next use. A training step frees and needs the same blocks each time, so the engine lets the
allocator keep them. No result depends on it; `GRADPROOF_KEEP_MEMORY=off` leaves it alone.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from typing import Final

SWITCH: Final = "GRADPROOF_KEEP_MEMORY"

# Parameters of mallopt(3), and values beyond any block of a step.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER, _GIBIBYTE = (1 << 31) - 1, 1 << 30


@lru_cache(maxsize=1)
def keep_memory() -> bool:
    """Let glibc keep freed memory for as long as the process lives; whether it was asked to."""
    if os.environ.get(SWITCH, "").lower() == "off":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _GIBIBYTE) and mallopt(_TRIM_THRESHOLD, _NEVER))
