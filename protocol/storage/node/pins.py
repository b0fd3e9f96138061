"""Which DAGs to keep, and until when: an append-only journal, replayed at the start.

INVARIANT: a pin is on disk before it is acknowledged. A line cut short by a crash was never
acknowledged and is ignored.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from protocol.storage.cid import Cid
from protocol.storage.landing import sync_folder
from protocol.storage.node.blocks import FULL


class PinJournal:
    """The pins of one node, each with an optional expiry in Unix seconds. Safe for threads."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._pins: dict[Cid, float | None] = {}
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                self._replay(line)
        self._rewrite()
        self._file = path.open("ab", buffering=0)

    def _replay(self, line: bytes) -> None:
        try:
            text, expires = json.loads(line)
        except ValueError:
            return
        cid = Cid.parse(text)
        if expires == 0:
            self._pins.pop(cid, None)
        else:
            self._pins[cid] = expires

    def _rewrite(self) -> None:
        """Replace the journal by its outcome, so that it does not grow for ever."""
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                for cid, expires in self.live().items():
                    file.write(_line(cid, expires))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            # On a full disk the journal stays as it is, so that the node starts and can make room.
            if error.errno not in FULL:
                raise
            fresh.unlink(missing_ok=True)
        sync_folder(self._path.parent)

    def add(self, cid: Cid, expires_in: float | None = None) -> None:
        """Pin, for `expires_in` seconds or for ever. A shorter pin never replaces a longer one."""
        with self._lock:
            expires = None if expires_in is None else self._clock() + expires_in
            current = self._pins.get(cid, 0.0)
            if current is None or (expires is not None and expires <= current):
                return
            self._append(cid, expires)
            self._pins[cid] = expires

    def remove(self, cid: Cid) -> bool:
        """Unpin; tell whether it was pinned."""
        with self._lock:
            if not self._is_live(self._pins.get(cid, 0.0)):
                return False
            self._append(cid, 0)
            del self._pins[cid]
            return True

    def live(self) -> dict[Cid, float | None]:
        """Return the pins that have not expired."""
        return {cid: expires for cid, expires in list(self._pins.items()) if self._is_live(expires)}

    def _is_live(self, expires: float | None) -> bool:
        return expires is None or expires > self._clock()

    def _append(self, cid: Cid, expires: float | None) -> None:
        line = _line(cid, expires)
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "the pin journal could not be written", str(self._path))
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the journal."""
        self._file.close()


def _line(cid: Cid, expires: float | None) -> bytes:
    # The newline comes first: it also ends a line that an earlier full disk cut short.
    return b"\n" + json.dumps([str(cid), expires]).encode()
