"""The content store: publish a file, fetch it verified, keep it pinned.

Every role moves model state, data and gradients through this one interface. The sources behind it
are not trusted: what is published must come back under the CID computed here, and what is fetched
is checked block by block (see `protocol.storage.window`).
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Self, TypeVar

from protocol.storage.cid import Cid
from protocol.storage.counters import Counters
from protocol.storage.errors import (
    BlockRejected,
    SourceFailed,
    StoreUnavailable,
)
from protocol.storage.fetching import Sink, fetch_dag
from protocol.storage.landing import (
    FileSink,
    FollowedFile,
    MemorySink,
    Progress,
    Watched,
    holds,
    open_part,
    sync_folder,
)
from protocol.storage.survey import Collected, Holding, Usage, collect, describe, find
from protocol.storage.window import BLOCK_SECONDS, WINDOW, BlockWindow, Source

if TYPE_CHECKING:
    from protocol.storage.sources import ApiSource, GatewaySource

HOW_TO_START: Final = (
    "Set GRADPROOF_IPFS_API to the RPC address of a Kubo daemon (for example "
    "/ip4/127.0.0.1/tcp/5001), or start the embedded node: "
    "gradproof store serve, or without a home "
    "python -m protocol.storage.node --root <folder> --port 5001"
)


def _nobody(_done: int, _size: int) -> None:
    """Take no notice."""


T = TypeVar("T")


class ContentStore:
    """Content behind one or more Kubo RPC endpoints and trustless gateways.

    Safe to use from several threads. Close it, or use it in a `with` block.
    """

    def __init__(
        self,
        apis: Sequence[ApiSource],
        gateways: Sequence[GatewaySource] = (),
        *,
        window: int = WINDOW,
        block_seconds: float = BLOCK_SECONDS,
        counters: Counters | None = None,
    ) -> None:
        self._apis = tuple(apis)
        self._gateways = tuple(gateways)
        self._window = window
        self._block_seconds = block_seconds
        self._dropped: dict[str, BlockRejected] = {}
        self.counters = counters or Counters()

    @property
    def dropped(self) -> dict[str, BlockRejected]:
        """The sources that sent wrong blocks, by name, with the evidence."""
        return dict(self._dropped)

    def publish(self, path: Path, *, progress: Progress = _nobody) -> Cid:
        """Store and pin a file; return the CID computed here.

        `progress` hears how many bytes have been sent. Raises `StoreUnavailable` when no daemon
        takes it, `CidMismatch` when the file changed meanwhile.
        """
        size = path.stat().st_size
        return self._publish(lambda: FollowedFile(path, size, progress), size, str(path))

    def publish_bytes(self, data: bytes) -> Cid:
        """Store and pin bytes, the same as a file that holds them."""
        return self._publish(lambda: io.BytesIO(data), len(data), f"{len(data)} bytes")

    def _publish(self, open_stream: Callable[[], BinaryIO], size: int, what: str) -> Cid:
        cid = self._first(lambda api: api.publish(open_stream), f"take {what}")
        self.counters.add("published_files")
        self.counters.add("published_bytes", size)
        return cid

    def fetch(
        self,
        cid: Cid,
        dest: Path,
        limit: int,
        *,
        timeout: float | None = None,
        progress: Progress = _nobody,
    ) -> None:
        """Bring a file of at most `limit` bytes to `dest`, whole and verified, or not at all.

        An interrupted fetch leaves `dest.part`, which the next one resumes; two processes may
        fetch to the same place. `timeout` bounds the whole fetch, in seconds; `progress` hears
        the size first, before a byte is written, then how much is there.

        Raises `LimitExceeded`, `NotFound`, `BlockRejected`, `CidMismatch`, `StoreUnavailable`.
        """
        part = dest.with_name(dest.name + ".part")
        with open_part(part) as fd:
            if holds(dest, cid, limit):
                part.unlink()
                return
            with closing(self._blocks(timeout)) as blocks:
                size = fetch_dag(
                    blocks,
                    cid,
                    limit,
                    lambda size: Watched(FileSink(fd, size), size, self.counters, progress),
                )
            assert os.fstat(fd).st_size == size
            os.fsync(fd)
            part.replace(dest)
            sync_folder(dest.parent)
        self.counters.add("fetched_files")

    def fetch_bytes(self, cid: Cid, limit: int, *, timeout: float | None = None) -> bytes:
        """Bring a file of at most `limit` bytes into memory; raises what `fetch` raises."""
        sinks: list[MemorySink] = []

        def open_sink(size: int) -> Sink:
            sinks.append(MemorySink(size))
            return sinks[0]

        with closing(self._blocks(timeout)) as blocks:
            fetch_dag(blocks, cid, limit, open_sink)
        self.counters.add("fetched_files")
        return bytes(sinks[0].data)

    def _blocks(self, timeout: float | None) -> BlockWindow:
        sources: list[Source] = [*self._apis, *self._gateways]
        if not sources:
            raise StoreUnavailable("no content store is configured", fix=HOW_TO_START)
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        return BlockWindow(
            sources,
            self._dropped,
            width=self._window,
            block_seconds=self._block_seconds,
            deadline=deadline,
            counters=self.counters,
        )

    def pin(self, cid: Cid, *, expires_in: int | None = None) -> None:
        """Keep a file in the first daemon that can; `expires_in` seconds where it knows expiry."""
        self._first(lambda api: api.pin(cid, expires_in), f"pin {cid}")

    def unpin(self, cid: Cid) -> None:
        """Let every daemon forget a file; not pinned is no error."""
        reached = False
        failures = []
        for api in self._apis:
            try:
                api.unpin(cid)
                reached = True
            except SourceFailed as error:
                failures.append(str(error))
        if not reached:
            raise self._unavailable(f"unpin {cid}", failures)

    def has(self, cid: Cid) -> bool:
        """Tell whether some daemon itself holds the root block, without asking its network."""
        reached = False
        failures = []
        for api in self._apis:
            try:
                if api.has_block(cid):
                    return True
                reached = True
            except SourceFailed as error:
                failures.append(str(error))
        if not reached:
            raise self._unavailable(f"look up {cid}", failures)
        return False

    def find(self, cid: Cid) -> list[Holding]:
        """Ask every source by itself whether it has a file, and daemons whether it is pinned."""
        return find(cid, self._apis, self._gateways)

    def describe(self) -> list[Usage]:
        """Ask every daemon how much it stores."""
        return describe(self._apis)

    def silent(self) -> str:
        """Why no daemon answers; empty where one does."""
        try:
            self._first(lambda api: api.greet(), "answer")
        except StoreUnavailable as error:
            return error.why
        return ""

    def collect(self) -> list[Collected]:
        """Have every daemon remove what nobody pins."""
        return collect(self._apis)

    def _first(self, act: Callable[[ApiSource], T], what: str) -> T:
        failures = []
        for api in self._apis:
            try:
                return act(api)
            except SourceFailed as error:
                failures.append(str(error))
        raise self._unavailable(what, failures)

    def _unavailable(self, what: str, failures: list[str]) -> StoreUnavailable:
        why = "; ".join(failures) or "no RPC endpoint is configured"
        return StoreUnavailable(f"no daemon could {what}", why=why, fix=HOW_TO_START)

    def close(self) -> None:
        """Close the connections of every source."""
        for api in self._apis:
            api.close()
        for gateway in self._gateways:
            gateway.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_store(
    apis: Sequence[str],
    gateways: Sequence[str] = (),
    *,
    window: int = WINDOW,
    block_seconds: float = BLOCK_SECONDS,
    counters: Counters | None = None,
) -> ContentStore:
    """Open the store behind these addresses, without contacting them yet.

    `apis`: multiaddrs or http(s) URLs of Kubo RPC endpoints, the first one preferred for
    publishing; `gateways`: URLs of trustless gateways; `window`: blocks in flight at once;
    `block_seconds`: how long a source may take for one block before another is asked. Raises
    `StoreUnavailable` when there is no address or a malformed one.
    """
    if not apis and not gateways:
        raise StoreUnavailable("no content store is configured", fix=HOW_TO_START)
    # Imported late: ipfshttpclient takes a quarter of a second.
    from protocol.storage.sources import ApiSource, GatewaySource

    return ContentStore(
        [ApiSource(address, block_seconds) for address in apis],
        [GatewaySource(url, block_seconds) for url in gateways],
        window=window,
        block_seconds=block_seconds,
        counters=counters,
    )
