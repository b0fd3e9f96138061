"""ipfshttpclient, hardened: replies as sent, bounded in bytes and time, from the host asked.

The library follows redirects, honours proxy variables and netrc, expands gzip, reads any body
whole, and waits for one that drips. `Session` and `_Transport` turn all of that off; `translated`
turns everything the library raises about a broken or hostile source into this area's errors.

This module imports ipfshttpclient, which is slow; it is imported when a store is opened.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from socket import socket
from typing import Any, Final

import ipfshttpclient
from ipfshttpclient import exceptions, http_requests, requests_wrapper
from urllib3.exceptions import HTTPError

from protocol.storage.errors import LimitExceeded, SourceFailed, StoreUnavailable
from protocol.storage.unixfs import MAX_BLOCK
from protocol.storage.window import BLOCK_SECONDS, WINDOW

SEND_PIECE: Final = 256 * 1024  # a quarter of a leaf, so that none is cut
PIECE: Final = 64 * 1024  # of headers and messages
MAX_PIECE: Final = 1024 * 1024  # of what is read: a block in one piece costs a third less
CONNECT_SECONDS: Final = 10.0
_HEADER_BYTES: Final = 256 * 1024  # more than any honest source sends
WRITE_SECONDS: Final = 600.0  # a daemon answers `add` only when everything is on its disk
_GARBAGE_LIST: Final = 1024**3  # names of millions of blocks, read one by one
HOW_TO_WRITE: Final = "Write it as /ip4/127.0.0.1/tcp/5001 or http://127.0.0.1:5001."


class Refused(SourceFailed):
    """The source answered in a way that no honest one does."""


class _Wire(io.RawIOBase):
    """The bytes of one reply, which must have ended in `seconds`.

    A socket's own timeout is for each piece: a source that drips would hold a thread for ever.
    `allowed` bounds the headers, and is lifted when they have been read.
    """

    def __init__(self, raw: io.RawIOBase, seconds: float) -> None:
        self._raw = raw
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self.allowed: float = _HEADER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        if time.monotonic() > self._end:
            raise TimeoutError(f"the reply took longer than {self._seconds:g} s")
        if self.allowed <= 0:
            raise HTTPException(f"more than {_HEADER_BYTES} bytes of headers")
        count: int | None = self._raw.readinto(buffer)
        self.allowed -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Reply(HTTPResponse):
    """http.client's response, read through a `_Wire`."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._wire = _Wire(self.fp.detach(), sock.gettimeout() or BLOCK_SECONDS)
        self.fp = io.BufferedReader(self._wire, PIECE)

    def begin(self) -> None:
        super().begin()
        self._wire.allowed = float("inf")


class _Connection(requests_wrapper.HTTPConnection):  # type: ignore[misc] # no types
    response_class = _Reply


class _SecureConnection(requests_wrapper.HTTPSConnection):  # type: ignore[misc] # no types
    response_class = _Reply


class _Pool(requests_wrapper.HTTPConnectionPool):  # type: ignore[misc] # no types
    ConnectionCls = _Connection


class _SecurePool(requests_wrapper.HTTPSConnectionPool):  # type: ignore[misc] # no types
    ConnectionCls = _SecureConnection


class _Adapter(requests_wrapper.HTTPAdapter):  # type: ignore[misc] # the library ships no types
    """The library's adapter without the option that urllib3 2 warns about, and with more room."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False) -> None:
        self.poolmanager = requests_wrapper.PoolManager(
            num_pools=connections, maxsize=max(maxsize, 2 * WINDOW), block=block
        )
        schemes = self.poolmanager.pool_classes_by_scheme
        for scheme in schemes:
            schemes[scheme] = _SecurePool if scheme.startswith("https") else _Pool


class Session(requests_wrapper.Session):  # type: ignore[misc] # the library ships no types
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
            raise Refused(why)
        return response


def bounded(pieces: Iterator[bytes], limit: int, seconds: float) -> Iterator[bytes]:
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
    """ipfshttpclient's transport over `Session`, with bounded replies.

    It overrides private methods, which the exact version pin of ipfshttpclient makes safe.
    """

    __slots__ = ()

    def _make_session(self) -> Any:
        session = Session()
        for name, value in self._session_props.items():
            setattr(session, name, value)
        return session

    def _request(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        kwargs["chunk_size"] = MAX_PIECE
        closables, pieces = super()._request(method, path, *args, **kwargs)
        limit = _GARBAGE_LIST if path.strip("/") == "repo/gc" else MAX_BLOCK
        return closables, bounded(pieces, limit, WRITE_SECONDS)

    def _do_raise_for_status(self, response: Any) -> None:
        if response.status_code < 400:
            return
        body = b"".join(bounded(response.iter_content(PIECE), PIECE, BLOCK_SECONDS))
        try:
            message = str(json.loads(body)["Message"])[:500]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SourceFailed(f"status {response.status_code}") from None
        raise exceptions.ErrorResponse(message, None)


class Client(ipfshttpclient.Client):  # type: ignore[misc] # the library ships no types
    """`ipfshttpclient.Client` over `_Transport`, with one session for all threads."""

    def __init__(self, addr: str, auth: tuple[str, str] | None, seconds: float) -> None:
        timeout = (min(CONNECT_SECONDS, seconds), seconds)
        try:
            super().__init__(addr, chunk_size=SEND_PIECE)
        except exceptions.AddressError as error:
            raise StoreUnavailable(f"{addr!r} is no RPC address. {HOW_TO_WRITE}") from error
        self._client = _Transport(addr, "api/v0", auth=auth, timeout=timeout)
        self._client.open_session()


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn whatever a broken or hostile source provokes into `SourceFailed`."""
    try:
        yield
    except SourceFailed as error:
        raise type(error)(f"{name}: {error}") from error
    except LimitExceeded as error:
        raise Refused(f"{name}: {error}") from error
    except exceptions.ErrorResponse:
        raise
    except (exceptions.Error, requests_wrapper.RequestException, HTTPError, OSError) as error:
        raise SourceFailed(f"{name}: {error}") from error
    except (AssertionError, LookupError, ValueError, TypeError, RecursionError) as error:
        # ipfshttpclient asserts and indexes its way through JSON it has not checked.
        raise SourceFailed(f"{name}: a reply that makes no sense: {error!r}") from error
