"""The two kinds of source: a Kubo RPC endpoint through ipfshttpclient, and a trustless gateway.

Both only hand over bytes; `protocol.storage.window` decides what they are. Everything raised
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
from protocol.storage.survey import Usage
from protocol.storage.transport import (
    CONNECT_SECONDS,
    HOW_TO_WRITE,
    MAX_PIECE,
    WRITE_SECONDS,
    Client,
    Refused,
    Session,
    bounded,
    translated,
)
from protocol.storage.unixfs import (
    MAX_BLOCK,
    UNIXFS_V1_2025,
    CidReader,
    Reader,
    blocks_of_stream,
    cid_of_stream,
)
from protocol.storage.window import BLOCK_SECONDS


def _joined(name: str, cid: Cid, pieces: Iterator[bytes], seconds: float) -> bytes:
    try:
        return b"".join(bounded(pieces, MAX_BLOCK, seconds))
    except LimitExceeded as error:
        raise BlockRejected(name, cid, str(error)) from error


class ApiSource:
    """A Kubo RPC endpoint: the operator's daemon or the embedded node.

    Pins and publishing go here; as a source of blocks it is trusted no more than any other.
    """

    def __init__(self, address: str, block_seconds: float = BLOCK_SECONDS) -> None:
        multiaddr, auth, self.name = _split_address(address)
        self._client = Client(multiaddr, auth, block_seconds)
        self._block_seconds = block_seconds
        self._cuts_differently = False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get_block(self, cid: Cid) -> bytes:
        """Ask for one block; see `protocol.storage.window.Source`."""
        patience = int(self._block_seconds * 900)
        try:
            with translated(self.name):
                # The daemon may ask its network, but must give up before we do.
                reply = self._client.block.get(
                    str(cid), stream=True, opts={"timeout": f"{patience}ms"}
                )
                with closing(reply):
                    return _joined(self.name, cid, reply, self._block_seconds)
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

    def publish(self, open_stream: Callable[[], BinaryIO]) -> Cid:
        """Have the daemon keep and pin a file under the CID computed here; return it.

        Raises `SourceFailed` when it does not, `CidMismatch` when the file changed meanwhile.
        """
        if self._cuts_differently:
            with open_stream() as stream:
                cid = cid_of_stream(stream)
        else:
            # Hashed on its way out: the daemon's answer is compared with what was really sent.
            with open_stream() as stream:
                sent = CidReader(stream)
                made = self._add(sent)
            if not sent.ended:
                raise SourceFailed(f"{self.name}: add was answered before the file was sent")
            cid = sent.cid()
            if _same(made, cid):
                return cid
            with suppress(exceptions.Error, StorageError):
                self._client.pin.rm(made)
        # An older daemon ignores the options it does not know, and cuts the file its own way.
        with open_stream() as stream:
            self._import_blocks(stream, cid)
        self._cuts_differently = True
        return cid

    def _add(self, stream: Reader) -> str:
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
            return str(reply["Hash"])

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

    def has_pin(self, cid: Cid) -> bool:
        """Tell whether the daemon keeps this file as a whole."""
        try:
            with translated(self.name):
                return bool(self._client.pin.ls(str(cid), type="recursive")["Keys"])
        except exceptions.ErrorResponse as error:
            if "not pinned" not in str(error):
                raise SourceFailed(f"{self.name}: pin/ls failed: {error}") from error
            return False

    def greet(self) -> None:
        """Ask for no more than an answer."""
        with self._speaking("version"):
            self._client.version()

    def usage(self) -> Usage:
        """Ask how much is stored."""
        with self._speaking("repo/stat"):
            stat = self._client.repo.stat()
            most = stat.get("StorageMax")
            return Usage(
                self.name,
                str(self._client.version()["Version"]),
                int(stat["NumObjects"]),
                int(stat["RepoSize"]),
                None if most is None else int(most),
            )

    def collect(self) -> int:
        """Have the daemon remove what nobody pins; return how many blocks went."""
        seconds = (CONNECT_SECONDS, WRITE_SECONDS)
        with self._speaking("repo/gc"), self._client.repo.gc(stream=True, timeout=seconds) as gone:
            return sum(1 for _ in gone)

    @contextmanager
    def _speaking(self, command: str) -> Iterator[None]:
        try:
            with translated(self.name):
                yield
        except exceptions.ErrorResponse as error:
            raise SourceFailed(f"{self.name}: {command} failed: {error}") from error


class GatewaySource:
    """A trustless gateway: blocks only, by `GET /ipfs/<cid>?format=raw`."""

    def __init__(self, url: str, block_seconds: float = BLOCK_SECONDS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise StoreUnavailable(
                f"{url!r} is no gateway address. Write it as https://host[:port][/path]."
            )
        self.name = url.rstrip("/")
        self._block_seconds = block_seconds
        self._session = Session()
        self._session.headers["Accept"] = "application/vnd.ipld.raw"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get_block(self, cid: Cid) -> bytes:
        """Ask for one block; see `protocol.storage.window.Source`."""
        try:
            with translated(self.name):
                response = self._session.request(
                    "GET",
                    f"{self.name}/ipfs/{cid}",
                    params={"format": "raw"},
                    timeout=(min(CONNECT_SECONDS, self._block_seconds), self._block_seconds),
                    stream=True,
                )
                with closing(response):
                    if response.status_code in (404, 410):
                        raise NotFound(f"{self.name} does not have {cid}.")
                    if response.status_code != 200:
                        raise SourceFailed(f"status {response.status_code}")
                    pieces = response.iter_content(MAX_PIECE)
                    return _joined(self.name, cid, pieces, self._block_seconds)
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
