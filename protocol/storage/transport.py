"""ipfshttpclient, hardened: replies as sent, bounded in bytes and time, from the host asked.

The library follows redirects, honours proxy variables and netrc, expands gzip, and reads any body
whole. `Session` and `_Transport` turn all of that off; `translated` turns everything the library
raises about a broken or hostile source into this area's errors.

This module imports ipfshttpclient, which is slow; it is imported when a store is opened.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import ipfshttpclient
from ipfshttpclient import exceptions, http_requests, requests_wrapper
from urllib3.exceptions import HTTPError

from protocol.storage.errors import LimitExceeded, SourceFailed, StoreUnavailable
from protocol.storage.fetching import BLOCK_SECONDS, WINDOW
from protocol.storage.unixfs import MAX_BLOCK

PIECE: Final = 64 * 1024
CONNECT_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 600.0  # a daemon answers `add` only when everything is on its disk
HOW_TO_WRITE: Final = "Write it as /ip4/127.0.0.1/tcp/5001 or http://127.0.0.1:5001."


class Refused(SourceFailed):
    """The source answered in a way that no honest one does."""


class _Adapter(requests_wrapper.HTTPAdapter):  # type: ignore[misc] # the library ships no types
    """The library's adapter without the option that urllib3 2 warns about, and with more room."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False) -> None:
        self.poolmanager = requests_wrapper.PoolManager(
            num_pools=connections, maxsize=max(maxsize, 2 * WINDOW), block=block
        )


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

    def _request(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["chunk_size"] = PIECE
        closables, pieces = super()._request(*args, **kwargs)
        return closables, bounded(pieces, MAX_BLOCK, WRITE_SECONDS)

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

    def __init__(self, addr: str, auth: tuple[str, str] | None) -> None:
        timeout = (CONNECT_SECONDS, BLOCK_SECONDS)
        try:
            super().__init__(addr, chunk_size=PIECE)
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
