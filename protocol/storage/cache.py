"""A local cache of verified files, shared by the roles on one machine.

Files lie under their CID, read-only, and are checked when they arrive; what is handed out was
verified by whoever put it there, so the folder must belong to the operator alone. When the cache
grows over its limit, the files used longest ago go first.

INVARIANT: a file under `files/` is whole, and its name is the CID of its bytes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from protocol.storage.cid import Cid
from protocol.storage.errors import LimitExceeded
from protocol.storage.store import ContentStore
from protocol.storage.unixfs import cid_of_file

_MODE: Final = 0o700


class Cache:
    """Verified files in `root`, at most `max_bytes` of them together."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._files = root / "files"
        self._partial = root / "partial"
        self._max_bytes = max_bytes
        for folder in (self._files, self._partial):
            folder.mkdir(parents=True, exist_ok=True, mode=_MODE)
        self._guard = root / "lock"

    def fetch(
        self, store: ContentStore, cid: Cid, limit: int, *, timeout: float | None = None
    ) -> Path:
        """Return a verified local copy of at most `limit` bytes, downloading it when needed.

        Open the path at once: a later fetch may evict the file, which an open file survives.
        Raises what `ContentStore.fetch` raises, `LimitExceeded` also for the cache's own size.
        """
        path = self._files / str(cid)
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            _check(cid, size, limit)
            os.utime(path)
            return path
        room = min(limit, self._max_bytes)
        arriving = self._partial / str(cid)
        store.fetch(cid, arriving, room, timeout=timeout)
        # Two processes may have waited for the same download; the first one has moved it already.
        with self._alone(), suppress(FileNotFoundError):
            arriving.chmod(0o400)
            self._make_room(arriving.stat().st_size)
            arriving.replace(path)
        return path

    def verify(self, cid: Cid) -> bool:
        """Re-hash a file and remove it when the disk has spoilt it; False when it is not here."""
        path = self._files / str(cid)
        with suppress(FileNotFoundError):
            if cid_of_file(path) == cid:
                return True
            path.unlink(missing_ok=True)
        return False

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fd = os.open(self._guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

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


def _check(cid: Cid, size: int, limit: int) -> None:
    if size > limit:
        raise LimitExceeded(
            f"{cid} holds {size} bytes, over the limit of {limit}. "
            "Refuse the job, or raise the limit if it is yours."
        )
