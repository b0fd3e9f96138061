"""A real embedded node in its own process, and HTTP servers that misbehave on purpose."""

from __future__ import annotations

import http.server
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from protocol.storage.cid import Cid
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.node.repo import Repo
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import blocks_of_stream

MIB = 1024 * 1024
Answer = Callable[["Request"], None]


class Request(http.server.BaseHTTPRequestHandler):
    """One request for a block, by RPC or as a gateway; the answer is the test's."""

    timeout = 20
    answer: Answer
    cid: Cid | None

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        arguments = parse_qs(urlsplit(self.path).query).get("arg")
        self.cid = Cid.parse(arguments[0]) if arguments else None
        type(self).answer(self)

    def do_GET(self) -> None:
        self.cid = Cid.parse(urlsplit(self.path).path.removeprefix("/ipfs/"))
        type(self).answer(self)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """The client hangs up on most of what is tried here."""


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start servers that answer requests for blocks as told; returns their URL."""
    servers: list[_Server] = []

    def start(answer: Answer) -> str:
        handler = type("Handler", (Request,), {"answer": staticmethod(answer)})
        server = _Server(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def honest() -> Callable[[bytes], dict[Cid, bytes]]:
    """Cut content into its blocks, the root last."""
    return lambda data: dict(blocks_of_stream(io.BytesIO(data)))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with start_node(tmp_path_factory.mktemp("node")) as process:
        yield process


@pytest.fixture
def store(node: NodeProcess) -> Iterator[ContentStore]:
    with open_store([node.api_url], [node.gateway_url]) as opened:
        yield opened


@pytest.fixture
def closed_port() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def repo(folder: Path) -> Iterator[Repo]:
    opened = Repo(folder, quota=64 * MIB, grace=0.0)
    yield opened
    opened.close()
