"""Verified download: walk a DAG block by block over a window of parallel requests.

A block is hashed before it is parsed or written. The root fixes the size, and the size fixes the
number and shape of every other block, so nothing a source sends can make the walk longer, deeper
or larger than the caller's limit allows.

INVARIANT: what reaches a `Sink` re-imports to the requested CID.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Protocol

from protocol.storage.cid import RAW, Cid
from protocol.storage.errors import CidMismatch, LimitExceeded
from protocol.storage.unixfs import UNIXFS_V1_2025, Link, Profile, declared_size, read_children
from protocol.storage.window import BlockWindow, Piece


class Sink(Protocol):
    """Where the bytes of a file go; offsets and sizes in bytes."""

    def has(self, offset: int, link: Link) -> bool:
        """Tell whether the verified bytes of this leaf are already there."""

    def write(self, offset: int, data: bytes) -> None:
        """Keep the verified bytes of one leaf; one call at a time, from a thread of its own."""


class _Writer:
    """Write leaves behind the fetch's back, so that no request waits for the disk."""

    def __init__(self, sink: Sink, most: int) -> None:
        self._sink = sink
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="landing")
        self._waiting: deque[Future[None]] = deque()

    def write(self, offset: int, data: bytes) -> None:
        """Take one leaf, after waiting for room; raises what an earlier one met."""
        while len(self._waiting) >= self._most or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._sink.write, offset, data))

    def finish(self) -> None:
        """Wait for the rest; raises what any of them met."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """End the thread; nothing is written to the sink from now on."""
        self._thread.shutdown(cancel_futures=True)


def fetch_dag(
    window: BlockWindow,
    root: Cid,
    limit: int,
    open_sink: Callable[[int], Sink],
    profile: Profile = UNIXFS_V1_2025,
) -> int:
    """Bring the file named `root` into a sink and return its size in bytes.

    `open_sink` is called once, with a size that is at most `limit`. Raises `LimitExceeded`,
    `CidMismatch` (content not in the profile) and what `BlockWindow.take` raises.
    """
    window.ask(Piece(Link(root, 0, 0), 0, 0))
    _, block, source = window.take()
    with _attributed(root, source):
        size = len(block) if root.codec == RAW else declared_size(block)
        if size > limit:
            raise LimitExceeded(
                f"it holds {size} bytes, over the limit of {limit}. "
                "Refuse the job, or raise the limit if it is yours."
            )
        height = profile.height(size)
        if (root.codec == RAW) != (height == 0):
            raise CidMismatch(f"it has {size} bytes, but not in the shape the profile gives them.")
        top = Piece(Link(root, size, 0), height, 0)
        pending = _children(top, block, profile) if height else []
    sink = open_sink(size)
    with closing(_Writer(sink, window.width)) as writer:
        if height == 0:
            writer.write(0, block)
        while pending or len(window):
            while pending and len(window) < window.width:
                piece = pending.pop()
                if piece.height or not sink.has(piece.offset, piece.link):
                    window.ask(piece)
            if len(window):
                piece, block, source = window.take()
                with _attributed(root, source):
                    if piece.height:
                        pending += _children(piece, block, profile)
                    elif len(block) != piece.link.size:
                        raise CidMismatch(f"a leaf has {len(block)} bytes, not as declared.")
                    else:
                        writer.write(piece.offset, block)
        writer.finish()
    return size


@contextmanager
def _attributed(root: Cid, source: str) -> Iterator[None]:
    """Name the content and who sent it, in an error about what its publisher made of it."""
    try:
        yield
    except (CidMismatch, LimitExceeded) as error:
        raise type(error)(f"{root}, as {source} serves it: {error}") from error


def _children(piece: Piece, block: bytes, profile: Profile) -> list[Piece]:
    """Return the children, last first, so that a stack hands them out in file order."""
    pieces = []
    offset = piece.offset
    for link in read_children(block, piece.link.size, piece.height, profile):
        pieces.append(Piece(link, piece.height - 1, offset))
        offset += link.size
    return pieces[::-1]
