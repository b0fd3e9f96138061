"""A local cache of verified files, shared by the roles on one machine.

Files lie under their CID, read-only, and are checked when they arrive; what is handed out was
verified by whoever put it there, so the folder must belong to the operator alone. When the cache
grows over its limit, the files used longest ago go first.

INVARIANT: a file under `files/` is whole, and its name is the CID of its bytes.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from protocol.storage.cid import Cid
from protocol.storage.errors import LimitExceeded
from protocol.storage.store import ContentStore
from protocol.storage.unixfs import cid_of_file

_STALE_SECONDS: Final = 24 * 3600.0  # after which nobody resumes an interrupted download


class Cache:
    """Verified files in `root`, at most `max_bytes` of them together."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._files = root / "files"
        self._partial = root / "partial"
        self._max_bytes = max_bytes
        self._locks = root / "locks"
        for folder in (self._files, self._partial, self._locks):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        oldest = time.time() - _STALE_SECONDS
        for left in self._partial.iterdir():
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < oldest:
                    left.unlink()

    def fetch(
        self, store: ContentStore, cid: Cid, limit: int, *, timeout: float | None = None
    ) -> Path:
        """Return a verified local copy of at most `limit` bytes, downloading it when needed.

        Open the path at once: a later fetch may evict the file, which an open file survives.
        Raises what `ContentStore.fetch` raises, `LimitExceeded` also for the cache's own size.
        """
        path = self._files / str(cid)
        if self._hit(path, cid, limit):
            return path
        # One download at a time for one content; others wait for it and find it here.
        with _held(self._locks / cid.digest[:1].hex()):
            if self._hit(path, cid, limit):
                return path
            arriving = self._partial / str(cid)
            store.fetch(cid, arriving, min(limit, self._max_bytes), timeout=timeout)
            arriving.chmod(0o400)
            with _held(self._locks / "files"):
                self._make_room(arriving.stat().st_size)
                arriving.replace(path)
        return path

    def _hit(self, path: Path, cid: Cid, limit: int) -> bool:
        try:
            size = path.stat().st_size
            _check(cid, size, limit)
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def verify(self, cid: Cid) -> bool:
        """Re-hash a file and remove it when the disk has spoilt it; False when it is not here."""
        path = self._files / str(cid)
        with suppress(FileNotFoundError):
            if cid_of_file(path) == cid:
                return True
            path.unlink(missing_ok=True)
        return False

    def _make_room(self, needed: int) -> None:
        """Remove the files used longest ago until `needed` more bytes fit."""
        found = []
        for path in self._files.iterdir():
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total + needed <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _check(cid: Cid, size: int, limit: int) -> None:
    if size > limit:
        raise LimitExceeded(
            f"{cid} holds {size} bytes, over the limit of {limit}. "
            "Refuse the job, or raise the limit if it is yours."
        )
