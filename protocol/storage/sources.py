"""The two kinds of source: a Kubo RPC endpoint through ipfshttpclient, and a trustless gateway.

ipfshttpclient follows redirects, honours proxy variables, expands gzip and reads any body whole.
`_Session` and `_Transport` turn all of that off: at most `MAX_BLOCK` bytes, as sent, from the
address that was asked. Everything raised here derives from `StorageError`.

This module imports ipfshttpclient, which is slow, and is itself imported when a store is opened.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from ipaddress import ip_address
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlsplit

import ipfshttpclient
from ipfshttpclient import exceptions, http_requests, requests_wrapper
from urllib3.exceptions import HTTPError

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
from protocol.storage.fetching import BLOCK_SECONDS, MAX_BLOCK, WINDOW
from protocol.storage.unixfs import UNIXFS_V1_2025, blocks_of_stream

_PIECE: Final = 64 * 1024
_CONNECT_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 600.0  # a daemon answers `add` only when everything is on its disk
_HOW_TO_WRITE: Final = "Write it as /ip4/127.0.0.1/tcp/5001 or http://127.0.0.1:5001."


class _Refused(SourceFailed):
    """The source answered in a way that no honest one does."""


class _Adapter(requests_wrapper.HTTPAdapter):  # type: ignore[misc] # the library ships no types
    """The library's adapter without the option that urllib3 2 warns about, and with more room."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False) -> None:
        self.poolmanager = requests_wrapper.PoolManager(
            num_pools=connections, maxsize=max(maxsize, 2 * WINDOW), block=block
        )


class _Session(requests_wrapper.Session):  # type: ignore[misc] # the library ships no types
    """A session that takes a reply as sent, from the host that was asked, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        adapter = _Adapter()
        for prefix in list(self.adapters):
            self.mount(prefix, adapter)
        self.headers["Accept-Encoding"] = "identity"

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        kwargs["allow_redirects"] = False
        response = super().request(method, url, *args, **kwargs)
        why = None
        if 300 <= response.status_code < 400:
            why = f"a redirect ({response.status_code}), which is never followed"
        elif response.headers.get("Content-Encoding", "identity").lower() != "identity":
            why = "a compressed body, which was not asked for"
        if why is not None:
            response.close()
            raise _Refused(why)
        return response


def _bounded(pieces: Iterator[bytes], limit: int, seconds: float) -> Iterator[bytes]:
    """Pass pieces on until they exceed `limit` bytes or `seconds`."""
    end = time.monotonic() + seconds
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise LimitExceeded(f"more than {limit} bytes")
        if time.monotonic() > end:
            raise SourceFailed(f"a reply that took longer than {seconds:g} s")
        yield piece


class _Transport(http_requests.ClientSync):  # type: ignore[misc] # the library ships no types
    """ipfshttpclient's transport over `_Session`, with bounded replies.

    It overrides private methods, which the exact version pin of ipfshttpclient makes safe.
    """

    __slots__ = ()

    def _make_session(self) -> Any:
        session = _Session()
        for name, value in self._session_props.items():
            setattr(session, name, value)
        return session

    def _request(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["chunk_size"] = _PIECE
        closables, pieces = super()._request(*args, **kwargs)
        return closables, _bounded(pieces, MAX_BLOCK, _WRITE_SECONDS)

    def _do_raise_for_status(self, response: Any) -> None:
        if response.status_code < 400:
            return
        body = b"".join(_bounded(response.iter_content(_PIECE), _PIECE, BLOCK_SECONDS))
        try:
            message = str(json.loads(body)["Message"])[:500]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SourceFailed(f"status {response.status_code}") from None
        raise exceptions.ErrorResponse(message, None)


class _Client(ipfshttpclient.Client):  # type: ignore[misc] # the library ships no types
    """`ipfshttpclient.Client` over `_Transport`, with one session for all threads."""

    def __init__(self, addr: str, auth: tuple[str, str] | None) -> None:
        timeout = (_CONNECT_SECONDS, BLOCK_SECONDS)
        try:
            super().__init__(addr, chunk_size=_PIECE)
        except exceptions.AddressError as error:
            raise StoreUnavailable(f"{addr!r} is no RPC address. {_HOW_TO_WRITE}") from error
        self._client = _Transport(addr, "api/v0", auth=auth, timeout=timeout)
        self._client.open_session()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn whatever a broken or hostile source provokes into `SourceFailed`."""
    try:
        yield
    except SourceFailed as error:
        raise type(error)(f"{name}: {error}") from error
    except LimitExceeded as error:
        raise _Refused(f"{name}: {error}") from error
    except exceptions.ErrorResponse:
        raise
    except (exceptions.Error, requests_wrapper.RequestException, HTTPError, OSError) as error:
        raise SourceFailed(f"{name}: {error}") from error
    except (AssertionError, LookupError, ValueError, TypeError, RecursionError) as error:
        # ipfshttpclient asserts and indexes its way through JSON it has not checked.
        raise SourceFailed(f"{name}: a reply that makes no sense: {error!r}") from error


def _joined(name: str, cid: Cid, pieces: Iterator[bytes]) -> bytes:
    try:
        return b"".join(_bounded(pieces, MAX_BLOCK, BLOCK_SECONDS))
    except LimitExceeded as error:
        raise BlockRejected(name, cid, str(error)) from error


class ApiSource:
    """A Kubo RPC endpoint: the operator's daemon or the embedded node.

    Pins and publishing go here; as a source of blocks it is trusted no more than any other.
    """

    def __init__(self, address: str) -> None:
        multiaddr, auth, self.name = _split_address(address)
        self._client = _Client(multiaddr, auth)
        self._cuts_differently = False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get_block(self, cid: Cid) -> bytes:
        """Ask for one block; see `protocol.storage.fetching.Source`."""
        seconds = int(BLOCK_SECONDS)
        try:
            with _translated(self.name):
                # The daemon may ask its network, but must give up before we do.
                reply = self._client.block.get(
                    str(cid), stream=True, opts={"timeout": f"{seconds - 2}s"}
                )
                with closing(reply):
                    return _joined(self.name, cid, reply)
        except exceptions.ErrorResponse as error:
            raise NotFound(f"{self.name} does not have {cid}: {error}") from error
        except _Refused as error:
            raise BlockRejected(self.name, cid, str(error)) from error

    def has_block(self, cid: Cid) -> bool:
        """Tell whether the daemon itself, without asking its network, holds the block."""
        try:
            with _translated(self.name):
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
                timeout=(_CONNECT_SECONDS, _WRITE_SECONDS),
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
                _Upload(_Pieces(pieces).read), timeout=(_CONNECT_SECONDS, _WRITE_SECONDS)
            )
            root = reply["Root"]
            if root["PinErrorMsg"] or not _same(root["Cid"]["/"], cid):
                raise SourceFailed(f"the daemon did not pin what it was sent: {root!r}")

    def pin(self, cid: Cid, expires_in: int | None) -> None:
        """Keep a whole file; the daemon fetches what it lacks. `expires_in` in seconds."""
        # Only the embedded node knows expiry; other daemons ignore the option and keep for ever.
        opts = {} if expires_in is None else {"expires-in": str(expires_in)}
        with self._speaking("pin/add"):
            self._client.pin.add(str(cid), opts=opts, timeout=(_CONNECT_SECONDS, _WRITE_SECONDS))

    def unpin(self, cid: Cid) -> None:
        """Drop the pin; one that is not there counts as dropped."""
        try:
            with _translated(self.name):
                self._client.pin.rm(str(cid))
        except exceptions.ErrorResponse as error:
            if "not pinned" not in str(error):
                raise SourceFailed(f"{self.name}: pin/rm failed: {error}") from error

    @contextmanager
    def _speaking(self, command: str) -> Iterator[None]:
        try:
            with _translated(self.name):
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
        self._session = _Session()
        self._session.headers["Accept"] = "application/vnd.ipld.raw"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get_block(self, cid: Cid) -> bytes:
        """Ask for one block; see `protocol.storage.fetching.Source`."""
        try:
            with _translated(self.name):
                response = self._session.request(
                    "GET",
                    f"{self.name}/ipfs/{cid}",
                    params={"format": "raw"},
                    timeout=(_CONNECT_SECONDS, BLOCK_SECONDS),
                    stream=True,
                )
                with closing(response):
                    if response.status_code in (404, 410):
                        raise NotFound(f"{self.name} does not have {cid}.")
                    if response.status_code != 200:
                        raise SourceFailed(f"status {response.status_code}")
                    return _joined(self.name, cid, response.iter_content(_PIECE))
        except _Refused as error:
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
        raise StoreUnavailable(f"{parts.hostname or address!r} is no RPC address. {_HOW_TO_WRITE}")
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
