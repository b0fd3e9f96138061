"""What a node can do with DAGs on its own disk: import, walk, export, pin, collect.

It never fetches: a DAG is pinned only when every block of it is here. Names inside a DAG are never
read, so none can become a path.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from protocol.storage.car import read_car_blocks, read_car_root, write_car
from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import CidMismatch, LimitExceeded, NotFound
from protocol.storage.node.blocks import BlockFolder
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

    def close(self) -> None:
        """Release the folder."""
        self.pins.close()
        self.blocks.close()

    def put(self, cid: Cid, block: bytes) -> None:
        """Keep a block; when the quota is used up, collect garbage once and try again."""
        try:
            self.blocks.put(cid, block)
        except LimitExceeded:
            if not any(True for _ in self.collect()):
                raise
            self.blocks.put(cid, block)

    def add(self, stream: Reader, *, pin: bool, only_hash: bool) -> tuple[Cid, int]:
        """Import a file; return its CID and its size in bytes."""
        size = 0
        cid: Cid | None = None
        for cid, block in blocks_of_stream(stream):
            size += len(block) if cid.codec == RAW else 0
            if not only_hash:
                self.put(cid, block)
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
        for cid, block in read_car_blocks(stream):
            self.put(cid, block)
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
        """Remove the blocks that no live pin needs and that are past the grace time."""
        with self._roots:
            keep: set[bytes] = set()
            for root in self.pins.live():
                keep.update(self._whole(root))
            yield from list(self.blocks.sweep(keep, self._grace))

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
