"""Where a download lands: a part file that can be resumed, or memory.

INVARIANT: a part file is renamed to its final name only after it is whole, verified and synced,
by the one process that holds its lock.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from protocol.storage.cid import RAW, Cid
from protocol.storage.counters import Counters
from protocol.storage.errors import CidMismatch
from protocol.storage.fetching import Sink
from protocol.storage.unixfs import Link, cid_of_file

_SYNC_BYTES: Final = 64 * 1024 * 1024  # the disk works while the rest arrives, not at the end
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) of one file."""


class FileSink:
    """Write leaves into an open `.part` file; re-hash what an earlier attempt left there."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._left = os.fstat(fd).st_size
        self._unsynced = 0
        # Sparse until written. A part that is longer than the file belongs to something else.
        os.ftruncate(fd, size)

    def has(self, offset: int, link: Link) -> bool:
        """Hash what is at the place of a leaf."""
        if offset + link.size > self._left:
            return False
        return Cid.of_block(RAW, os.pread(self._fd, link.size, offset)) == link.cid

    def write(self, offset: int, data: bytes) -> None:
        """Write one leaf to its place."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_BYTES:
            os.fdatasync(self._fd)
            self._unsynced = 0


class MemorySink:
    """Collect leaves in memory."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)

    def has(self, offset: int, link: Link) -> bool:  # noqa: ARG002 -- the Sink protocol
        """Nothing is there before it is written."""
        return False

    def write(self, offset: int, data: bytes) -> None:
        """Copy one leaf to its place."""
        self.data[offset : offset + len(data)] = data


class Watched:
    """Another sink, followed: `progress` hears of the size before anything is written.

    Leaves are found and written in two threads; `progress` hears of them one by one.
    """

    def __init__(self, sink: Sink, size: int, counters: Counters, progress: Progress) -> None:
        self._sink = sink
        self._size = size
        self._counters = counters
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        progress(0, size)

    def has(self, offset: int, link: Link) -> bool:
        """Ask the other sink."""
        if not self._sink.has(offset, link):
            return False
        self._counters.add("resumed_bytes", link.size)
        self._moved(link.size)
        return True

    def write(self, offset: int, data: bytes) -> None:
        """Hand on."""
        self._sink.write(offset, data)
        self._moved(len(data))

    def _moved(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._progress(self._done, self._size)


class FollowedFile(io.FileIO):
    """A file being read; `progress` hears how far."""

    def __init__(self, path: Path, size: int, progress: Progress) -> None:
        super().__init__(path, "rb")
        self._size = size
        self._progress = progress
        self._done = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on."""
        data = super().read(size)
        self._done += len(data)
        self._progress(self._done, self._size)
        return data


def holds(path: Path, cid: Cid, limit: int) -> bool:
    """Tell whether a file is already there, whole and within the limit."""
    with suppress(FileNotFoundError):
        return path.stat().st_size <= limit and cid_of_file(path) == cid
    return False


@contextmanager
def open_part(part: Path) -> Iterator[int]:
    """Open a part file, alone: whoever finishes first has renamed it away for the next."""
    while True:
        try:
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CidMismatch(f"{part} is a link, not a partial download. Remove it.") from None
            raise
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_at(fd, part):
                yield fd
                return
        finally:
            # Nothing arrived, so there is nothing to resume.
            if is_at(fd, part) and os.fstat(fd).st_size == 0:
                part.unlink()
            os.close(fd)


def is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
