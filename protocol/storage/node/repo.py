"""What a node can do with DAGs on its own disk: import, walk, export, pin, collect.

It never fetches: a DAG is pinned only when every block of it is here. Names inside a DAG are never
read, so none can become a path.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.storage.car import read_car_blocks, read_car_root, write_car
from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import CidMismatch, LimitExceeded, NotFound
from protocol.storage.node.blocks import BlockFolder, check_block
from protocol.storage.node.pins import PinJournal
from protocol.storage.unixfs import (
    UNIXFS_V1_2025,
    Link,
    Reader,
    blocks_of_stream,
    declared_size,
    links_of,
    read_children,
)

GRACE_SECONDS: Final = 3600.0
DEFAULT_QUOTA: Final = 64 * 1024**3
_BATCH: Final = 8  # blocks of a stream that go to the disk together


class Repo:
    """The blocks and pins of one node."""

    def __init__(
        self, root: Path, quota: int = DEFAULT_QUOTA, grace: float = GRACE_SECONDS
    ) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root = root
        self.blocks = BlockFolder(root, quota)
        self.pins = PinJournal(root / "pins.journal")
        self._grace = grace
        # Pinning and collecting exclude each other: a DAG found whole stays whole until pinned.
        self._roots = threading.Lock()
        self._arriving: dict[int, set[bytes]] = {}

    def close(self) -> None:
        """Release the folder."""
        self.pins.close()
        self.blocks.close()

    def put(self, cid: Cid, block: bytes, *, pin: bool = False) -> None:
        """Keep a block of a stranger; raises what `BlockFolder.put` raises."""
        check_block(cid, block)
        with self._arrival() as arriving:
            self._put_all([(cid, block)], arriving)
            if pin:
                self.pin(cid)

    @contextmanager
    def _arrival(self) -> Iterator[set[bytes]]:
        """Protect the blocks of one upload, by the digests put in the set, until it is pinned."""
        arriving: set[bytes] = set()
        self._arriving[id(arriving)] = arriving
        try:
            yield arriving
        finally:
            del self._arriving[id(arriving)]

    def _put_all(self, blocks: list[tuple[Cid, bytes]], arriving: set[bytes]) -> None:
        """Keep blocks; when there is no room, collect garbage once and try again."""
        # INVARIANT: a block is protected before it is looked for or written.
        arriving.update(cid.digest for cid, _ in blocks)
        try:
            self.blocks.put_all(blocks)
        except LimitExceeded:
            if not any(True for _ in self.collect()):
                raise
            self.blocks.put_all(blocks)

    def _put_stream(self, blocks: Iterator[tuple[Cid, bytes]], arriving: set[bytes]) -> None:
        """Keep blocks as they come: while some are on their way to the disk, the next arrive."""
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer:
            written = writer.submit(self._put_all, [], arriving)
            while batch := list(itertools.islice(blocks, _BATCH)):
                written.result()
                written = writer.submit(self._put_all, batch, arriving)
            written.result()

    def add(self, stream: Reader, *, pin: bool, only_hash: bool) -> tuple[Cid, int]:
        """Import a file; return its CID and its size in bytes."""
        size = 0
        cid: Cid | None = None

        def counted() -> Iterator[tuple[Cid, bytes]]:
            nonlocal size, cid
            for cid, block in blocks_of_stream(stream):
                size += len(block) if cid.codec == RAW else 0
                yield cid, block

        with self._arrival() as arriving:
            if only_hash:
                deque(counted(), maxlen=0)
            else:
                self._put_stream(counted(), arriving)
            assert cid is not None, "even an empty file is one block"
            if pin and not only_hash:
                self.pin(cid)
        return cid, size

    def children(self, cid: Cid) -> list[Cid]:
        """Return the links of a block that is here."""
        return [] if cid.codec == RAW else links_of(self.blocks.get(cid))

    def walk(self, root: Cid) -> Iterator[Cid]:
        """Yield every CID below and including `root` once, parents first.

        Raises `NotFound` at the first block that is not here.
        """
        seen: set[Cid] = set()
        stack = [root]
        while stack:
            cid = stack.pop()
            if cid in seen:
                continue
            seen.add(cid)
            if self.blocks.size(cid) is None:
                raise NotFound(f"block {cid} of {root} was not found locally.")
            yield cid
            stack.extend(reversed(self.children(cid)))

    def file_size(self, cid: Cid) -> int:
        """Return the bytes of a file. Raises `CidMismatch` when it is no plain file."""
        if cid.codec == RAW:
            return len(self.blocks.get(cid))
        return declared_size(self.blocks.get(cid))

    def read(self, cid: Cid) -> Iterator[bytes]:
        """Yield the content of a file in the profile, leaf by leaf."""
        size = self.file_size(cid)
        stack = [(Link(cid, size, 0), UNIXFS_V1_2025.height(size))]
        while stack:
            link, height = stack.pop()
            block = self.blocks.get(link.cid)
            if height == 0 and link.cid.codec == RAW and len(block) == link.size:
                yield block
            elif height and link.cid.codec == DAG_PB:
                children = read_children(block, link.size, height)
                stack += [(child, height - 1) for child in reversed(children)]
            else:
                raise CidMismatch(f"{cid} is not a file in the unixfs-v1-2025 profile.")

    def import_car(self, stream: Reader, *, pin: bool) -> Cid:
        """Keep every block of a CAR, and pin its root when asked; return the root."""
        root = read_car_root(stream)
        with self._arrival() as arriving:
            self._put_stream(_checked(read_car_blocks(stream)), arriving)
            if pin:
                self.pin(root)
        return root

    def export_car(self, root: Cid) -> Iterator[bytes]:
        """Yield a whole DAG as a CAR. Raises `NotFound` at once when its root is not here."""
        self.blocks.get(root)
        return write_car(root, ((cid, self.blocks.get(cid)) for cid in self.walk(root)))

    def pin(self, cid: Cid, expires_in: float | None = None) -> None:
        """Keep a DAG that is wholly here. Raises `NotFound` when it is not."""
        with self._roots:
            for _ in self.walk(cid):
                pass
            self.pins.add(cid, expires_in)

    def collect(self) -> Iterator[bytes]:
        """Remove the blocks that no live pin or upload needs and that are past the grace time."""
        with self._roots:
            pinned: set[bytes] = set()
            for root in self.pins.live():
                pinned.update(self._whole(root))
            yield from list(self.blocks.sweep(_Needed(pinned, self), self._grace))

    def is_arriving(self, digest: bytes) -> bool:
        """Tell whether a block belongs to an upload that is going on."""
        return any(digest in one for one in tuple(self._arriving.values()))

    def _whole(self, root: Cid) -> Iterator[bytes]:
        """Yield the digests of what is left of a DAG; a damaged branch does not stop the rest."""
        seen: set[Cid] = set()
        stack = [root]
        while stack:
            cid = stack.pop()
            if cid in seen:
                continue
            seen.add(cid)
            yield cid.digest
            try:
                stack.extend(self.children(cid))
            except NotFound:
                continue


@dataclass(frozen=True, slots=True)
class _Needed:
    """The digests that must stay: what was pinned at the beginning, and what arrives meanwhile."""

    pinned: set[bytes]
    repo: Repo

    def __contains__(self, digest: object) -> bool:
        assert isinstance(digest, bytes)
        return digest in self.pinned or self.repo.is_arriving(digest)


def _checked(blocks: Iterator[tuple[Cid, bytes]]) -> Iterator[tuple[Cid, bytes]]:
    for cid, block in blocks:
        check_block(cid, block)
        yield cid, block
