"""Blocks in flight: requests spread over hostile sources, verified, retried elsewhere.

INVARIANT: what `BlockWindow.take` returns hashes to the name that was asked for.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from protocol.storage.cid import Cid
from protocol.storage.counters import Counters
from protocol.storage.errors import BlockRejected, NotFound, StorageError, StoreUnavailable
from protocol.storage.unixfs import Link

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
class _Job:
    ticket: int
    source: Source
    cid: Cid
    pause: float


@dataclass(frozen=True, slots=True)
class _Reply:
    ticket: int
    outcome: bytes | Exception


class BlockWindow:
    """Requests in flight, spread over the sources and retried elsewhere when one fails.

    Close it when the fetch is over, so that its threads end.

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
        self._threads = 0
        self._unanswered = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[_Reply] = queue.SimpleQueue()

    def close(self) -> None:
        """Let every thread end, those that hang in a source when it lets go of them."""
        for _ in range(self._threads):
            self._jobs.put(None)

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
            self._unanswered -= 1
            request = self._flying.pop(reply.ticket, None)
            if request is None:
                continue  # it came too late, another source has been asked since
            if isinstance(reply.outcome, bytes):
                self._counters.add("fetched_blocks")
                self._counters.add("fetched_bytes", len(reply.outcome))
                assert request.source is not None
                return request.piece, reply.outcome, request.source.name
            if not isinstance(reply.outcome, StorageError):
                raise reply.outcome
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
        self._jobs.put(_Job(self._tickets, source, request.piece.link.cid, 0.2 * tries))
        self._unanswered += 1
        if self._unanswered > self._threads:  # the others are at work, or hang in a source
            self._threads += 1
            # Daemon threads: one that hangs in a source that drips bytes must not keep us alive.
            threading.Thread(target=self._work, name="block-fetch", daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._replies.put(_Reply(job.ticket, _outcome(job)))

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


def _outcome(job: _Job) -> bytes | Exception:
    """Get one block and verify it."""
    time.sleep(job.pause)
    try:
        block = job.source.get_block(job.cid)
    except Exception as error:  # noqa: BLE001 -- raised where the blocks are taken
        return error
    if job.cid.matches(block):
        return block
    why = f"{len(block)} bytes that hash to {Cid.of_block(job.cid.codec, block)}"
    return BlockRejected(job.source.name, job.cid, why)
