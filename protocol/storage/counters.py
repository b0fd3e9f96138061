"""What a process has moved through the content store, as totals that only grow.

One `Counters` goes to the store and to the cache of a process; a metrics endpoint reads `totals`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

COUNTERS: Final[Mapping[str, str]] = {
    "published_files": "files that a daemon took and pinned",
    "published_bytes": "bytes of these files",
    "fetched_files": "files that arrived whole and verified",
    "fetched_blocks": "blocks that arrived and hashed to their CID",
    "fetched_bytes": "bytes of these blocks",
    "resumed_bytes": "bytes that an interrupted fetch had left and that need not come again",
    "rejected_blocks": "wrong blocks; each costs its source its place",
    "failed_requests": "requests that a source broke off, left unanswered or garbled",
    "cache_hits": "files lent from the cache",
    "cache_misses": "files that had to be fetched",
    "cache_evicted_files": "files that made room for others",
    "cache_evicted_bytes": "bytes of these files",
    "cache_spoilt_files": "cached files that no longer hashed to their CID, and were removed",
}
"""Every counter and what it counts."""


class Counters:
    """Totals since the process began. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = dict.fromkeys(COUNTERS, 0)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one counter of `COUNTERS`."""
        assert amount >= 0, "a counter only grows"
        with self._lock:
            self._totals[name] += amount

    def totals(self) -> dict[str, int]:
        """Return a copy of all counters, by name."""
        with self._lock:
            return dict(self._totals)
