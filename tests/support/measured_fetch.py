"""Fetches in a process of its own, one JSON line per order, with what each cost in memory.

The peak is the kernel's high-water mark of the whole process, reset before each fetch; growth is
counted from the resident size after the imports and one honest fetch.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fetch. `grew` in bytes; `threads` that still wait for a source."""

    error: str | None
    text: str
    dropped: list[str]
    grew: int
    seconds: float
    threads: int


class MeasuredFetcher:
    """The process; use it in a `with` block."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fetch(self, **order: Any) -> Outcome:
        """Fetch `cid` of at most `limit` bytes from `apis` and `gateways` to `dest`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(20) == 0


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _waiting() -> int:
    return sum(thread.name == "block-fetch" for thread in threading.enumerate())


def _fetch(order: dict[str, Any], baseline: int) -> Outcome:
    from protocol.storage.cid import Cid
    from protocol.storage.errors import StorageError
    from protocol.storage.store import open_store

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    began = time.monotonic()
    error, text = None, ""
    with open_store(order["apis"], order["gateways"], block_seconds=order["seconds"]) as store:
        try:
            store.fetch(Cid.parse(order["cid"]), Path(order["dest"]), order["limit"])
        except StorageError as raised:
            error, text = type(raised).__name__, str(raised)
        seconds = time.monotonic() - began
        # A request that was given up must also end: otherwise every stalling source costs a thread.
        while _waiting() and time.monotonic() < began + seconds + 4 * order["seconds"] + 2:
            time.sleep(0.02)
        peak = _memory("VmHWM")
        return Outcome(error, text, list(store.dropped), peak - baseline, seconds, _waiting())


def main() -> None:
    """Answer orders until standard input closes."""
    baseline = 0
    for line in sys.stdin:
        outcome = _fetch(json.loads(line), baseline)
        if not baseline:
            gc.collect()
            baseline = _memory("VmRSS")
        fields = {name: getattr(outcome, name) for name in Outcome.__slots__}
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
