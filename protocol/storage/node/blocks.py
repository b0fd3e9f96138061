"""Blocks on disk, one file each under the hex digest of its bytes.

INVARIANT: a file under `blocks/` is complete and durable before anyone can see its name, so a
crash or a power cut loses at most blocks that were never acknowledged.
INVARIANT: the bytes of all blocks, with those being written, never exceed the quota.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

from protocol.storage.cid import Cid
from protocol.storage.errors import CidMismatch, LimitExceeded, NodeLocked, NotFound
from protocol.storage.landing import sync_folder
from protocol.storage.unixfs import MAX_BLOCK


class BlockFolder:
    """The blocks of one node. Safe for threads; a second process is refused with `NodeLocked`.

    `quota` in bytes of block content.
    """

    def __init__(self, root: Path, quota: int) -> None:
        self.quota = quota
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
        for leftover in self._temporary.iterdir():
            leftover.unlink()
        self.used, self.count = 0, 0
        for _, size in self._scan():
            self.used += size
            self.count += 1

    def close(self) -> None:
        """Let another process have the folder."""
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
        """Keep a block, durably before this returns.

        Raises `CidMismatch` when the bytes are not its block, `LimitExceeded` over the quota or
        over 2 MiB.
        """
        if len(block) > MAX_BLOCK:
            raise LimitExceeded(f"{cid} has {len(block)} bytes; a block has at most {MAX_BLOCK}.")
        if not cid.matches(block):
            raise CidMismatch(f"these {len(block)} bytes are not the block {cid}.")
        path = self._path(cid.digest)
        with self._lock:
            with suppress(FileNotFoundError):
                os.utime(path)  # a block just asked for is young again for the collector
                return
            # Reserved before writing, so that parallel writers cannot overrun the quota together.
            if self.used + len(block) > self.quota:
                raise LimitExceeded(
                    f"the node holds {self.used} bytes and its quota is {self.quota}. "
                    "Unpin content and run repo/gc, or start it with a larger --quota."
                )
            self.used += len(block)
            self.count += 1
        try:
            created = self._write(path, block)
        except BaseException:
            self._release(len(block))
            raise
        if not created:
            self._release(len(block))

    def _release(self, size: int) -> None:
        with self._lock:
            self.used -= size
            self.count -= 1

    def _write(self, path: Path, block: bytes) -> bool:
        """Write a new file durably; return False when another thread was faster."""
        temporary = self._temporary / secrets.token_hex(16)
        try:
            with temporary.open("xb", buffering=0) as file:
                view = memoryview(block)
                while view:
                    view = view[file.write(view) or 0 :]
                os.fsync(file.fileno())
            # Name and folder entry in one step, so that whoever sees the block may rely on it.
            with self._lock:
                if path.exists():
                    return False
                path.parent.mkdir(exist_ok=True, mode=0o700)
                temporary.replace(path)
                sync_folder(path.parent)
                sync_folder(self._blocks)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def get(self, cid: Cid) -> bytes:
        """Return a verified block. Raises `NotFound`; a block the disk has spoilt is removed."""
        path = self._path(cid.digest)
        try:
            block = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"block {cid} was not found locally. Publish it here first.") from None
        if not cid.matches(block):
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
        """Remove blocks not in `keep` and older than `grace` seconds; yield their digests."""
        oldest = time.time() - grace
        for digest in list(self.digests()):
            path = self._path(digest)
            # Under the lock: `put` either finds the block gone, or makes it young before this.
            if digest not in keep and self._remove(path, oldest):
                yield digest

    def _remove(self, path: Path, oldest: float = float("inf")) -> bool:
        with self._lock, suppress(FileNotFoundError):
            found = path.stat()
            if found.st_mtime <= oldest:
                path.unlink()
                self.used -= found.st_size
                self.count -= 1
                return True
        return False
