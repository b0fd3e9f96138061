"""Whether a role is well, over HTTP: /metrics for Prometheus, /health and /ready for supervisors.

The loop writes a `Pulse`; the endpoint only reads it, from threads of its own. /health says whether
the loop still turns (restart me), /ready whether its last turn reached the chain, and whether the
store answers (route to me, page nobody). The endpoint listens where it is told to and has no other
paths.
"""

import json
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from protocol.rules.errors import GradproofError

SILENT_SECONDS = 120.0
"""A loop that neither ends a turn nor is busy for so long is taken for dead."""


class EndpointError(GradproofError):
    """The health endpoint cannot listen where it should."""


class Pulse:
    """What the loop last did. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turned = clock()
        self._busy: str | None = None
        self._trouble: str | None = "no block has been read yet"
        self._store_trouble: str | None = None

    def turned(self, trouble: str | None = None) -> None:
        """The loop came round; `trouble` says why it could not do its work."""
        with self._lock:
            self._turned, self._trouble = self._clock(), trouble

    def store(self, trouble: str | None) -> None:
        """Why no daemon of the content store answers; None where one does."""
        with self._lock:
            self._store_trouble = trouble

    def busy(self, with_what: str | None) -> None:
        """The loop does something that may take long; None when it is done."""
        with self._lock:
            self._turned, self._busy = self._clock(), with_what

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether the loop turns, and what it does."""
        with self._lock:
            silent = self._clock() - self._turned
            alive = self._busy is not None or silent < SILENT_SECONDS
            return alive, {"alive": alive, "busy": self._busy, "silent_seconds": round(silent, 1)}

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Whether the last turn did its work, and what was in its way."""
        alive, facts = self.health()
        with self._lock:
            trouble = self._trouble or self._store_trouble
            ready = alive and trouble is None
            return ready, {"ready": ready, "trouble": trouble, **facts}


class HealthEndpoint:
    """Serves a pulse and a registry until closed; `url` says where."""

    def __init__(self, address: str, pulse: Pulse, registry: CollectorRegistry) -> None:
        host, port = split_address(address)
        handler = type("Handler", (_Handler,), {"pulse": pulse, "registry": registry})
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("Server", (ThreadingHTTPServer,), {"address_family": family})
        try:
            self._server: ThreadingHTTPServer = server((host, port), handler)
        except OSError as error:
            raise EndpointError(
                f"the metrics cannot be served at {address}",
                why=str(error),
                fix="Set GRADPROOF_METRICS to a free address, or to nothing.",
            ) from None
        self.url = f"http://{address.rpartition(':')[0]}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    pulse: Pulse
    registry: CollectorRegistry
    timeout = 10  # seconds that a silent client may hold a thread

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._reply(HTTPStatus.OK, encode(self.registry), content_type)
            case "/health":
                self._judge(*self.pulse.health())
            case "/ready":
                self._judge(*self.pulse.readiness())
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def _judge(self, well: bool, facts: dict[str, object]) -> None:
        status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
        self._reply(status, json.dumps(facts).encode(), "application/json")

    def _reply(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name again
        """Probes are not worth a line each."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; raises EndpointError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise EndpointError(
            f"{address!r} is no address to serve metrics at",
            why="It takes a host and a port.",
            fix="Set GRADPROOF_METRICS to something like 127.0.0.1:9464, or to nothing.",
        )
    return host.strip("[]"), int(port)
