"""Verified download: walk a DAG block by block over a window of parallel requests.

A block is hashed before it is parsed or written. The root fixes the size, and the size fixes the
number and shape of every other block, so nothing a source sends can make the walk longer, deeper
or larger than the caller's limit allows.

INVARIANT: what reaches a `Sink` re-imports to the requested CID.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from protocol.storage.cid import RAW, Cid
from protocol.storage.counters import Counters
from protocol.storage.errors import (
    BlockRejected,
    CidMismatch,
    LimitExceeded,
    NotFound,
    StorageError,
    StoreUnavailable,
)
from protocol.storage.unixfs import UNIXFS_V1_2025, Link, Profile, declared_size, read_children

WINDOW: Final = 8
BLOCK_SECONDS: Final = 30.0
_TRIES: Final = 3


class Source(Protocol):
    """Where blocks come from; `get_block` runs in several threads at once.

    It raises `NotFound` when the source says that it lacks the block, `SourceFailed` when the
    source did not answer properly, `BlockRejected` when what it sends cannot be the block.
    """

    @property
    def name(self) -> str:
        """Return the address people know the source by."""

    def get_block(self, cid: Cid) -> bytes:
        """Return what the source has under this name, at most `MAX_BLOCK` bytes, not verified."""


class Sink(Protocol):
    """Where the bytes of a file go; offsets and sizes in bytes."""

    def has(self, offset: int, link: Link) -> bool:
        """Tell whether the verified bytes of this leaf are already there."""

    def write(self, offset: int, data: bytes) -> None:
        """Keep the verified bytes of one leaf."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One subtree of the file: its link, its height above the leaves, its offset."""

    link: Link
    height: int
    offset: int


@dataclass(slots=True)
class _Request:
    piece: Piece
    missing: set[str] = field(default_factory=set)
    source: Source | None = None
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class _Reply:
    ticket: int
    outcome: bytes | StorageError


class BlockWindow:
    """Requests in flight, spread over the sources and retried elsewhere when one fails.

    `dropped` (source name -> why) outlives the window: a source that lied is never asked again.
    One that stalls or keeps breaking off is left out for this window only.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        dropped: dict[str, BlockRejected],
        *,
        width: int = WINDOW,
        block_seconds: float = BLOCK_SECONDS,
        deadline: float = float("inf"),
        counters: Counters | None = None,
    ) -> None:
        self.width = width
        self._counters = counters or Counters()
        self._sources = sources
        self._dropped = dropped
        self._block_seconds = block_seconds
        self._deadline = deadline
        self._failures: dict[str, list[str]] = {source.name: [] for source in sources}
        self._flying: dict[int, _Request] = {}
        self._tickets = 0
        self._replies: queue.SimpleQueue[_Reply] = queue.SimpleQueue()

    def __len__(self) -> int:
        return len(self._flying)

    def ask(self, piece: Piece) -> None:
        """Put one more block in flight."""
        self._send(_Request(piece))

    def take(self) -> tuple[Piece, bytes, str]:
        """Wait for any block in flight; return it verified, with the name of who sent it.

        Raises `NotFound`, `BlockRejected` or `StoreUnavailable` when no source is left for one.
        """
        while True:
            now = time.monotonic()
            due = min(request.due for request in self._flying.values())
            try:
                reply = self._replies.get(timeout=max(0.0, due - now))
            except queue.Empty:
                self._expire()
                continue
            request = self._flying.pop(reply.ticket, None)
            if request is None:
                continue  # it came too late, another source has been asked since
            if isinstance(reply.outcome, bytes):
                self._counters.add("fetched_blocks")
                self._counters.add("fetched_bytes", len(reply.outcome))
                assert request.source is not None
                return request.piece, reply.outcome, request.source.name
            self._note(request, reply.outcome)
            self._send(request)

    def _send(self, request: _Request) -> None:
        source = self._choose(request)
        tries = len(self._failures[source.name])
        now = time.monotonic()
        request.source = source
        request.due = min(now + self._block_seconds, self._deadline)
        self._tickets += 1
        self._flying[self._tickets] = request
        # Daemon threads: one that hangs in a source that drips bytes must not keep us alive.
        threading.Thread(
            target=self._work,
            args=(self._tickets, source, request.piece.link.cid, 0.2 * tries),
            name="block-fetch",
            daemon=True,
        ).start()

    def _work(self, ticket: int, source: Source, cid: Cid, pause: float) -> None:
        outcome: bytes | StorageError
        time.sleep(pause)
        try:
            outcome = source.get_block(cid)
            if not cid.matches(outcome):
                why = f"{len(outcome)} bytes that hash to {Cid.of_block(cid.codec, outcome)}"
                outcome = BlockRejected(source.name, cid, why)
        except StorageError as error:
            outcome = error
        self._replies.put(_Reply(ticket, outcome))

    def _note(self, request: _Request, error: StorageError) -> None:
        assert request.source is not None
        name = request.source.name
        if isinstance(error, BlockRejected):
            self._dropped[name] = error
            self._counters.add("rejected_blocks")
        elif isinstance(error, NotFound):
            request.missing.add(name)
        else:
            self._failures[name].append(str(error))
            self._counters.add("failed_requests")

    def _expire(self) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            raise StoreUnavailable(
                "the content did not arrive in the time allowed",
                fix="Allow more time, or add a faster source.",
            )
        for ticket, request in list(self._flying.items()):
            if request.due <= now:
                assert request.source is not None
                late = f"no block within {self._block_seconds:g} s"
                self._failures[request.source.name] += [late] * _TRIES
                self._counters.add("failed_requests")
                del self._flying[ticket]
                self._send(request)

    def _choose(self, request: _Request) -> Source:
        load = {source.name: 0 for source in self._sources}
        for other in self._flying.values():
            if other.source is not None:
                load[other.source.name] += 1
        fit = [
            source
            for source in self._sources
            if source.name not in self._dropped
            and source.name not in request.missing
            and len(self._failures[source.name]) < _TRIES
        ]
        if not fit:
            raise self._give_up(request)
        return min(fit, key=lambda one: (len(self._failures[one.name]), load[one.name]))

    def _give_up(self, request: _Request) -> StorageError:
        cid = request.piece.link.cid
        reasons = [f"{name}: not there" for name in sorted(request.missing)]
        reasons += [f"{name}: {why[-1]}" for name, why in self._failures.items() if why]
        ours = {source.name for source in self._sources}
        lies = [lie for name, lie in self._dropped.items() if name in ours]
        reasons += [f"{lie.source}: dropped, {lie.why}" for lie in lies]
        text = f"{cid} cannot be had ({'; '.join(reasons) or 'no source is configured'}). "
        broken = any(len(why) >= _TRIES for why in self._failures.values())
        if broken or not ours:
            advice = "Check that the daemons behind GRADPROOF_IPFS_API answer, then try again."
            return StoreUnavailable(text + advice)
        if lies and not request.missing:
            return lies[-1]
        return NotFound(text + "Ask the publisher to serve it, or add a source that has it.")


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
    if height == 0:
        sink.write(0, block)
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
                    sink.write(piece.offset, block)
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
