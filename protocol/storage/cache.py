"""A local cache of verified files, shared by all roles of one user.

Files lie under their CID, read-only. Whoever borrows one gets it hashed anew, so that what the
disk or another process has spoilt is found, removed and fetched again; and nobody evicts it before
it is given back. When room is needed, what was used longest ago goes first.

INVARIANT: this process has hashed what it lends, while it came or once it was locked.
INVARIANT: files and downloads under way never exceed the limit together.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.storage.cid import Cid
from protocol.storage.counters import Counters
from protocol.storage.errors import LimitExceeded, MalformedCid, StoreUnavailable
from protocol.storage.landing import is_at
from protocol.storage.store import ContentStore
from protocol.storage.unixfs import cid_of_file

_TRIES: Final = 3
_LOOK_SECONDS: Final = 0.02  # between looks at a download that is somebody else's
_STALE_SECONDS: Final = 24 * 3600.0  # after which nobody resumes an interrupted download


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What a cache holds: whole files, all bytes with those under way, and the limit."""

    files: int
    size: int
    most: int


class Cache:
    """Verified files in `root`, at most `max_bytes` of them together; any number of processes."""

    def __init__(self, root: Path, max_bytes: int, counters: Counters | None = None) -> None:
        self._files = root / "files"
        self._partial = root / "partial"
        self._locks = root / "locks"
        self._max_bytes = max_bytes
        self._counters = counters or Counters()
        for folder in (self._files, self._partial, self._locks):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        oldest = time.time() - _STALE_SECONDS
        for left in self._partial.iterdir():
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < oldest:
                    self._evict(left)

    @contextmanager
    def lend(
        self, store: ContentStore, cid: Cid, limit: int, *, timeout: float | None = None
    ) -> Iterator[Path]:
        """Lend a verified copy of at most `limit` bytes, downloading it when needed.

        It stays where it is until the block ends. `timeout` bounds the whole wait, in seconds.
        Raises what `ContentStore.fetch` raises, `LimitExceeded` also when the cache is full of
        what others use, `StoreUnavailable` also while another process's download takes too long.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        fd = self._borrow(cid, limit)
        if fd is None:
            # One download at a time for one content; others wait for it and find it here.
            with _held(self._locks / cid.digest[:1].hex(), until):
                fd = self._borrow(cid, limit)
                if fd is None:
                    self._counters.add("cache_misses")
                    left = None if timeout is None else max(0.0, until - time.monotonic())
                    fd = self._fetch(store, cid, limit, left)
                else:
                    self._counters.add("cache_hits")
        else:
            self._counters.add("cache_hits")
        try:
            yield self._files / str(cid)
        finally:
            os.close(fd)

    def _fetch(self, store: ContentStore, cid: Cid, limit: int, timeout: float | None) -> int:
        arriving = self._partial / str(cid)
        limit = min(limit, self._max_bytes)
        for _ in range(_TRIES):
            try:
                store.fetch(cid, arriving, limit, timeout=timeout, progress=self._reserve)
            except LimitExceeded:
                self._evict(arriving.with_name(arriving.name + ".part"))
                raise
            # Locked before it is given its place, and then tested: it was evictable until now.
            fd = _lock(arriving)
            if fd is not None:
                arriving.chmod(0o400)
                arriving.replace(self._files / str(cid))
                return fd
        raise _full(self._max_bytes)

    def _borrow(self, cid: Cid, limit: int) -> int | None:
        """Lock a verified file and note its use; None when it is not here."""
        path = self._files / str(cid)
        fd = self._verify(path, cid, limit)
        if fd is not None:
            os.utime(path)
        return fd

    def _verify(self, path: Path, cid: Cid, limit: int) -> int | None:
        """Lock a file and hash it; None when it is not here, or was spoilt and is removed."""
        fd = _lock(path)
        if fd is None:
            return None
        try:
            _check(cid, os.fstat(fd).st_size, limit)
            if cid_of_file(path) == cid:
                return fd
            self._counters.add("cache_spoilt_files")
            path.unlink(missing_ok=True)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def usage(self) -> CacheUsage:
        """Tell what is here."""
        whole = sum(1 for _ in self._files.iterdir())
        return CacheUsage(whole, sum(size for _, size, _ in self._all()), self._max_bytes)

    def clean(self) -> int:
        """Remove spoilt files and interrupted downloads that nobody goes on with; say how many."""
        removed = sum(self._evict(left) for left in self._partial.iterdir())
        for path in self._files.iterdir():
            try:
                fd = self._verify(path, Cid.parse(path.name), self._max_bytes)
            except (MalformedCid, LimitExceeded):
                removed += self._evict(path)
                continue
            if fd is None:
                removed += 1
            else:
                os.close(fd)
        self._make_room()
        return removed

    def _reserve(self, done: int, _size: int) -> None:
        """Make room when a download begins: its file has its full length from then on."""
        if done == 0:
            self._make_room()

    def _make_room(self) -> None:
        """Evict what was used longest ago until everything fits."""
        with _held(self._locks / "room"):
            found = sorted(self._all())
            total = sum(size for _, size, _ in found)
            for _, size, path in found:
                if total <= self._max_bytes:
                    return
                if self._evict(path):
                    total -= size
                    self._counters.add("cache_evicted_files")
                    self._counters.add("cache_evicted_bytes", size)
        if total > self._max_bytes:
            raise _full(self._max_bytes)

    def _all(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (last use, bytes, path) of whole files and of downloads under way."""
        for folder in (self._files, self._partial):
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    found = path.stat()
                    yield found.st_mtime_ns, found.st_size, path

    def _evict(self, path: Path) -> bool:
        """Remove a file unless somebody holds its lock."""
        with suppress(FileNotFoundError, BlockingIOError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(fd)
            return True
        return False


@contextmanager
def _held(lock: Path, until: float = math.inf) -> Iterator[None]:
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(fd, until)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, until: float) -> None:
    """Lock a file alone, by a moment of the monotonic clock; raises StoreUnavailable."""
    if until == math.inf:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise StoreUnavailable(
                    "another process that fetches the same content took all the time allowed",
                    fix="Allow more time, or give that process a cache of its own.",
                ) from None
            time.sleep(_LOOK_SECONDS)


def _check(cid: Cid, size: int, limit: int) -> None:
    if size > limit:
        raise LimitExceeded(
            f"{cid} holds {size} bytes, over the limit of {limit}. "
            "Refuse the job, or raise the limit if it is yours."
        )


def _lock(path: Path) -> int | None:
    """Open a file and keep it from being evicted; None when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(fd, fcntl.LOCK_SH)
    if is_at(fd, path):
        return fd
    os.close(fd)  # evicted a moment ago
    return None


def _full(most: int) -> LimitExceeded:
    return LimitExceeded(
        f"the cache of {most} bytes is full of files in use",
        fix="Raise GRADPROOF_CACHE_BYTES, or work on fewer jobs.",
    )
