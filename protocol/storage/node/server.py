"""HTTP plumbing shared by the RPC and the gateway: threads, limits, bodies and replies."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from itertools import chain
from typing import Any, BinaryIO, Final, cast
from urllib.parse import parse_qsl, urlsplit

from protocol.storage.errors import StorageError
from protocol.storage.node.multipart import BadRequest, ChunkedBody, LengthBody
from protocol.storage.node.repo import Repo

IDLE_SECONDS: Final = 60.0
MAX_CONNECTIONS: Final = 128
_QUERY_FIELDS: Final = 32


class NodeServer(ThreadingHTTPServer):
    """One port of a node: a thread per connection, at most `MAX_CONNECTIONS` of them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, handler: type[Handler], repo: Repo) -> None:
        self.repo = repo
        self.address_family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__((host, port), handler)

    @property
    def url(self) -> str:
        """Return the address that clients use."""
        host, port = self.server_address[:2]
        text = host if isinstance(host, str) else bytes(host).decode()
        return f"http://[{text}]:{port}" if ":" in text else f"http://{text}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its own thread, or close it when there are too many."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a connection that broke off; there is nobody left to tell."""


class Handler(BaseHTTPRequestHandler):
    """Requests on one connection; subclasses route them."""

    protocol_version = "HTTP/1.1"
    server_version = "gradproof-node"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024

    @property
    def repo(self) -> Repo:
        """Return the node's blocks and pins."""
        return cast(NodeServer, self.server).repo

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Write no access log; it would grow by a line per block."""

    def split(self) -> tuple[str, list[tuple[str, str]]]:
        """Return the path and the query fields. Raises `BadRequest` for too many."""
        parts = urlsplit(self.path)
        try:
            fields = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS)
        except ValueError as error:
            raise BadRequest(f"the query is not understood: {error}.") from error
        return parts.path, fields

    def body(self) -> ChunkedBody | LengthBody:
        """Return the request body as a stream."""
        wire = cast(BinaryIO, self.rfile)
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return ChunkedBody(wire)
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or len(length) > 15:
            raise BadRequest("the Content-Length is not a number.")
        return LengthBody(wire, int(length))

    def reply(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        """Send a whole reply."""
        self._start(status, kind, {**headers, "Content-Length": str(len(content))})
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def reply_json(self, *values: object, status: int = 200) -> None:
        """Send one JSON value per line, as Kubo does."""
        content = b"".join(json.dumps(value).encode() + b"\n" for value in values)
        self.reply(status, content, "application/json", {})

    def reply_stream(self, pieces: Iterable[bytes], kind: str, headers: dict[str, str]) -> None:
        """Send pieces as they come; an error in the middle cuts the connection.

        An error before the first piece is raised, so that it can still be answered.
        """
        iterator = iter(pieces)
        first = next(iterator, b"")
        self._start(200, kind, {**headers, "Transfer-Encoding": "chunked"})
        if self.command == "HEAD":
            self.wfile.flush()
            return
        try:
            self._send_chunks(chain((first,), iterator))
        except (StorageError, OSError):
            # Without the last chunk the client cannot take the rest for complete.
            self.close_connection = True

    def _send_chunks(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            if piece:
                self.wfile.write(b"%x\r\n" % len(piece))
                self.wfile.write(piece)
                self.wfile.write(b"\r\n")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _start(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
