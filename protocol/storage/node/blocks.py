"""Blocks on disk, one file each under the hex digest of its bytes.

INVARIANT: a file under `blocks/` is complete and durable before anyone can see its name, so a
crash or a power cut loses at most blocks that were never acknowledged.
INVARIANT: the bytes of all blocks, with those being written, never exceed the quota.
INVARIANT: blocks leave room on the disk for the pin journal, so that content can be let go of.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Final

from protocol.storage.cid import Cid
from protocol.storage.errors import CidMismatch, LimitExceeded, NodeLocked, NotFound
from protocol.storage.landing import sync_folder
from protocol.storage.unixfs import MAX_BLOCK

_DISK_THREADS: Final = 8  # a disk syncs several files in little more time than one
_HEADROOM: Final = 16 * 1024 * 1024  # bytes of the disk that blocks never take
FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def check_block(cid: Cid, block: bytes) -> None:
    """Raise `CidMismatch` when the bytes are not the block, `LimitExceeded` over 2 MiB."""
    if len(block) > MAX_BLOCK:
        raise LimitExceeded(f"{cid} has {len(block)} bytes; a block has at most {MAX_BLOCK}.")
    if not cid.matches(block):
        raise CidMismatch(f"these {len(block)} bytes are not the block {cid}.")


class BlockFolder:
    """The blocks of one node. Safe for threads; a second process is refused with `NodeLocked`.

    `quota` in bytes of block content.
    """

    def __init__(self, root: Path, quota: int) -> None:
        self.quota = quota
        self._root = root
        self._blocks = root / "blocks"
        self._temporary = root / "tmp"
        self._lock = threading.Lock()
        for folder in (self._blocks, self._temporary):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._guard = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._guard)
            raise NodeLocked(
                f"{root} is served by another process. Use that node's address, or another folder."
            ) from None
        self._disk = ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="disk")
        for leftover in self._temporary.iterdir():
            leftover.unlink()
        self.used, self.count = 0, 0
        for _, size in self._scan():
            self.used += size
            self.count += 1

    def close(self) -> None:
        """Let another process have the folder."""
        self._disk.shutdown()
        os.close(self._guard)

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._blocks / name[:2] / name

    def _scan(self) -> Iterator[tuple[bytes, int]]:
        for folder in self._blocks.iterdir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    yield bytes.fromhex(entry.name), entry.stat().st_size

    def put(self, cid: Cid, block: bytes) -> None:
        """Keep a block of a stranger, durably before this returns.

        Raises what `check_block` and `put_all` raise.
        """
        check_block(cid, block)
        self.put_all([(cid, block)])

    def put_all(self, blocks: Iterable[tuple[Cid, bytes]]) -> None:
        """Keep blocks whose CIDs are known to be theirs, durably before this returns.

        Together they wait for the disk about as long as one. Raises `LimitExceeded` over the
        quota and when the disk is full; then none of them is kept.
        """
        paths = {self._path(cid.digest): block for cid, block in blocks}
        fresh = self._reserve(paths)
        writing = {p: self._disk.submit(self._write, block) for p, block in fresh.items()}
        wait(writing.values())
        written = {p: done.result() for p, done in writing.items() if done.exception() is None}
        try:
            for done in writing.values():
                done.result()
            kept = self._show(written)
        except BaseException as error:
            self._release(fresh.values())
            if isinstance(error, OSError) and error.errno in FULL:
                raise self._disk_is_full() from error
            raise
        finally:
            for temporary in written.values():
                temporary.unlink(missing_ok=True)
        self._release(block for path, block in fresh.items() if path not in kept)

    def _reserve(self, paths: dict[Path, bytes]) -> dict[Path, bytes]:
        """Return what is not here yet, with its bytes counted before they are written.

        Otherwise parallel writers could overrun the quota together.
        """
        fresh = {}
        with self._lock:
            for path, block in paths.items():
                try:
                    os.utime(path)  # a block just asked for is young again for the collector
                except FileNotFoundError:
                    fresh[path] = block
            size = sum(map(len, fresh.values()))
            if fresh and size + _HEADROOM > shutil.disk_usage(self._root).free:
                raise self._disk_is_full()
            if self.used + size > self.quota:
                raise LimitExceeded(
                    f"the node holds {self.used} bytes and its quota is {self.quota}. "
                    "Unpin content and run repo/gc, or start it with a larger --quota."
                )
            self.used += size
            self.count += len(fresh)
        return fresh

    def _disk_is_full(self) -> LimitExceeded:
        return LimitExceeded(
            f"no space is left for blocks on the disk of {self._root}. "
            "Unpin content and run repo/gc, or free space there."
        )

    def _release(self, blocks: Iterable[bytes]) -> None:
        with self._lock:
            for block in blocks:
                self.used -= len(block)
                self.count -= 1

    def _write(self, block: bytes) -> Path:
        """Write a new file durably, under a name that nobody looks at."""
        temporary = self._temporary / secrets.token_hex(16)
        try:
            with temporary.open("xb", buffering=0) as file:
                view = memoryview(block)
                while view:
                    view = view[file.write(view) or 0 :]
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _show(self, written: dict[Path, Path]) -> set[Path]:
        """Give files their names; leave out those for which another thread was faster.

        Names and folder entries in one step, so that whoever sees a block may rely on it.
        """
        with self._lock:
            kept = {path for path in written if not path.exists()}
            try:
                for path in kept:
                    path.parent.mkdir(exist_ok=True, mode=0o700)
                    written[path].replace(path)
                folders = {path.parent for path in kept} | {self._blocks}
                deque(self._disk.map(sync_folder, folders), maxlen=0)
            except BaseException:
                for path in kept:
                    path.unlink(missing_ok=True)
                raise
        return kept

    def get(self, cid: Cid) -> bytes:
        """Return a verified block. Raises `NotFound`; a block the disk has spoilt is removed."""
        path = self._path(cid.digest)
        try:
            block = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"block {cid} was not found locally. Publish it here first.") from None
        if not cid.matches(block):
            with self._lock:
                self._remove(path)
            raise NotFound(f"block {cid} was damaged on disk and is removed. Publish it again.")
        return block

    def size(self, cid: Cid) -> int | None:
        """Return the bytes of a block, or None when it is not here."""
        with suppress(FileNotFoundError):
            return self._path(cid.digest).stat().st_size
        return None

    def digests(self) -> Iterator[bytes]:
        """Yield the digest of every block."""
        for digest, _ in self._scan():
            yield digest

    def sweep(self, keep: Container[bytes], grace: float) -> Iterator[bytes]:
        """Remove blocks not in `keep` and older than `grace` seconds; yield their digests.

        `keep` is asked about every block at the moment of its removal, and may change meanwhile.
        """
        oldest = time.time() - grace
        for digest in list(self.digests()):
            # Under one lock: `put` either finds the block gone, or has made it young before.
            with self._lock:
                gone = digest not in keep and self._remove(self._path(digest), oldest)
            if gone:
                yield digest

    def _remove(self, path: Path, oldest: float = float("inf")) -> bool:
        with suppress(FileNotFoundError):
            found = path.stat()
            if found.st_mtime <= oldest:
                path.unlink()
                self.used -= found.st_size
                self.count -= 1
                return True
        return False
