"""The two kinds of source: a Kubo RPC endpoint through ipfshttpclient, and a trustless gateway.

Both only hand over bytes; `protocol.storage.fetching` decides what they are. Everything raised
here derives from `StorageError`, and names the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from ipaddress import ip_address
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from ipfshttpclient import exceptions

from protocol.storage.car import write_car
from protocol.storage.cid import Cid
from protocol.storage.errors import (
    BlockRejected,
    CidMismatch,
    LimitExceeded,
    MalformedCid,
    NotFound,
    SourceFailed,
    StorageError,
    StoreUnavailable,
)
from protocol.storage.fetching import BLOCK_SECONDS
from protocol.storage.transport import (
    CONNECT_SECONDS,
    HOW_TO_WRITE,
    PIECE,
    WRITE_SECONDS,
    Client,
    Refused,
    Session,
    bounded,
    translated,
)
from protocol.storage.unixfs import MAX_BLOCK, UNIXFS_V1_2025, blocks_of_stream


def _joined(name: str, cid: Cid, pieces: Iterator[bytes]) -> bytes:
    try:
        return b"".join(bounded(pieces, MAX_BLOCK, BLOCK_SECONDS))
    except LimitExceeded as error:
        raise BlockRejected(name, cid, str(error)) from error


class ApiSource:
    """A Kubo RPC endpoint: the operator's daemon or the embedded node.

    Pins and publishing go here; as a source of blocks it is trusted no more than any other.
    """

    def __init__(self, address: str) -> None:
        multiaddr, auth, self.name = _split_address(address)
        self._client = Client(multiaddr, auth)
        self._cuts_differently = False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get_block(self, cid: Cid) -> bytes:
        """Ask for one block; see `protocol.storage.fetching.Source`."""
        seconds = int(BLOCK_SECONDS)
        try:
            with translated(self.name):
                # The daemon may ask its network, but must give up before we do.
                reply = self._client.block.get(
                    str(cid), stream=True, opts={"timeout": f"{seconds - 2}s"}
                )
                with closing(reply):
                    return _joined(self.name, cid, reply)
        except exceptions.ErrorResponse as error:
            raise NotFound(f"{self.name} does not have {cid}: {error}") from error
        except Refused as error:
            raise BlockRejected(self.name, cid, str(error)) from error

    def has_block(self, cid: Cid) -> bool:
        """Tell whether the daemon itself, without asking its network, holds the block."""
        try:
            with translated(self.name):
                reply = self._client.block.stat(str(cid), opts={"offline": "true"})
                return _same(reply["Key"], cid)
        except exceptions.ErrorResponse:
            return False

    def publish(self, open_stream: Callable[[], BinaryIO], cid: Cid) -> None:
        """Have the daemon keep and pin a file under the CID we computed.

        Raises `SourceFailed` when it does not, `CidMismatch` when the file is no longer that one.
        """
        if not self._cuts_differently:
            with open_stream() as stream:
                if self._add(stream, cid):
                    return
        # An older daemon ignores the options it does not know, and cuts the file its own way.
        with open_stream() as stream:
            self._import_blocks(stream, cid)
        self._cuts_differently = True

    def _add(self, stream: BinaryIO, cid: Cid) -> bool:
        with self._speaking("add"):
            reply = self._client.add(
                _Upload(stream.read),
                pin=True,
                cid_version=1,
                raw_leaves=True,
                chunker=f"size-{UNIXFS_V1_2025.chunk_size}",
                opts={"max-file-links": str(UNIXFS_V1_2025.max_links)},
                timeout=(CONNECT_SECONDS, WRITE_SECONDS),
            )
            made = str(reply["Hash"])
        if _same(made, cid):
            return True
        with suppress(exceptions.Error, StorageError):
            self._client.pin.rm(made)
        return False

    def _import_blocks(self, stream: BinaryIO, cid: Cid) -> None:
        pieces = write_car(cid, _ending_in(cid, blocks_of_stream(stream)))
        with self._speaking("dag/import"):
            reply = self._client.dag.imprt(
                _Upload(_Pieces(pieces).read), timeout=(CONNECT_SECONDS, WRITE_SECONDS)
            )
            root = reply["Root"]
            if root["PinErrorMsg"] or not _same(root["Cid"]["/"], cid):
                raise SourceFailed(f"the daemon did not pin what it was sent: {root!r}")

    def pin(self, cid: Cid, expires_in: int | None) -> None:
        """Keep a whole file; the daemon fetches what it lacks. `expires_in` in seconds."""
        # Only the embedded node knows expiry; other daemons ignore the option and keep for ever.
        opts = {} if expires_in is None else {"expires-in": str(expires_in)}
        with self._speaking("pin/add"):
            self._client.pin.add(str(cid), opts=opts, timeout=(CONNECT_SECONDS, WRITE_SECONDS))

    def unpin(self, cid: Cid) -> None:
        """Drop the pin; one that is not there counts as dropped."""
        try:
            with translated(self.name):
                self._client.pin.rm(str(cid))
        except exceptions.ErrorResponse as error:
            if "not pinned" not in str(error):
                raise SourceFailed(f"{self.name}: pin/rm failed: {error}") from error

    @contextmanager
    def _speaking(self, command: str) -> Iterator[None]:
        try:
            with translated(self.name):
                yield
        except exceptions.ErrorResponse as error:
            raise SourceFailed(f"{self.name}: {command} failed: {error}") from error


class GatewaySource:
    """A trustless gateway: blocks only, by `GET /ipfs/<cid>?format=raw`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise StoreUnavailable(
                f"{url!r} is no gateway address. Write it as https://host[:port][/path]."
            )
        self.name = url.rstrip("/")
        self._session = Session()
        self._session.headers["Accept"] = "application/vnd.ipld.raw"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get_block(self, cid: Cid) -> bytes:
        """Ask for one block; see `protocol.storage.fetching.Source`."""
        try:
            with translated(self.name):
                response = self._session.request(
                    "GET",
                    f"{self.name}/ipfs/{cid}",
                    params={"format": "raw"},
                    timeout=(CONNECT_SECONDS, BLOCK_SECONDS),
                    stream=True,
                )
                with closing(response):
                    if response.status_code in (404, 410):
                        raise NotFound(f"{self.name} does not have {cid}.")
                    if response.status_code != 200:
                        raise SourceFailed(f"status {response.status_code}")
                    return _joined(self.name, cid, response.iter_content(PIECE))
        except Refused as error:
            raise BlockRejected(self.name, cid, str(error)) from error


def _ending_in(cid: Cid, blocks: Iterator[tuple[Cid, bytes]]) -> Iterator[tuple[Cid, bytes]]:
    """Pass blocks on, the last of which must be the expected root."""
    last = None
    for last, block in blocks:
        yield last, block
    if last != cid:
        raise CidMismatch(f"the file is {last}, no longer {cid}: it changed. Publish it again.")


class _Upload:
    """A stream under a fixed name: ipfshttpclient would send the local path along."""

    name = "file"

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


class _Pieces:
    """Read an iterator of byte strings like a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, none only at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        part, self._rest = self._rest[:count], self._rest[count:]
        return bytes(part)


def _same(text: object, cid: Cid) -> bool:
    """Compare a daemon's spelling of a CID with ours, as values."""
    try:
        return Cid.parse(str(text)) == cid
    except MalformedCid:
        return False


def _split_address(address: str) -> tuple[str, tuple[str, str] | None, str]:
    """Return the multiaddr, the credentials and the public name of an RPC address."""
    if address.startswith("/"):
        return address, None, address
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreUnavailable(f"{parts.hostname or address!r} is no RPC address. {HOW_TO_WRITE}")
    try:
        version = ip_address(parts.hostname).version
        kind = f"ip{version}"
    except ValueError:
        kind = "dns"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    host = f"[{parts.hostname}]" if kind == "ip6" else parts.hostname
    multiaddr = f"/{kind}/{parts.hostname}/tcp/{port}/{parts.scheme}"
    return multiaddr, auth, f"{parts.scheme}://{host}:{port}"
