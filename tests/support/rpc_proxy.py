"""A real HTTP proxy in front of a JSON-RPC endpoint, with the faults that endpoints have.

Faults are attributes that a test sets while the proxy runs: it may lag behind (every answer is that
of an older chain), drop connections before or within a reply, limit requests, be silent, or alter
the answer of a method.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

_BLOCK_AT = {"eth_call": 1, "eth_getBlockByNumber": 0, "eth_getTransactionCount": 1}
_BLOCK_AT |= {"eth_getBalance": 1, "eth_estimateGas": 1}
Alter = Callable[[list[Any], Any], Any]


@dataclass
class RpcProxy:
    """Where it listens, what it does wrong, and what it was asked."""

    upstream: str
    url: str = ""
    behind: int = 0  # blocks
    drop: int = 0  # requests that find the connection closed
    cut: int = 0  # replies that break off in the middle
    limit: int = 0  # requests answered by status 429
    limit_by_error: int = 0  # requests answered by the JSON-RPC error for limits
    alter: dict[str, Alter] = field(default_factory=dict)  # what upstream has answered
    answers: dict[str, Alter] = field(default_factory=dict)  # upstream is not asked
    errors: dict[str, str] = field(default_factory=dict)  # what a method is refused with
    asked: list[str] = field(default_factory=list)

    def take(self, fault: str) -> bool:
        """Whether this request meets a fault that is set to a number of requests."""
        left: int = getattr(self, fault)
        if left:
            setattr(self, fault, left - 1)
        return left > 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What upstream says, seen from `behind` blocks ago, altered."""
        method, params = request["method"], list(request.get("params") or [])
        self.asked.append(method)
        if method in self.answers:
            result = self.answers[method](params, None)
            return {"jsonrpc": "2.0", "id": request["id"], "result": result}
        if method in self.errors:
            error = {"code": -32000, "message": self.errors[method]}
            return {"jsonrpc": "2.0", "id": request["id"], "error": error}
        if self.behind:
            newest = max(0, self._head() - self.behind)
            at = _BLOCK_AT.get(method)
            if at is not None and len(params) > at:
                if params[at] in ("latest", "pending"):
                    params[at] = hex(newest)
                elif isinstance(params[at], str) and int(params[at], 16) > newest:
                    return {"jsonrpc": "2.0", "id": request["id"], "result": None}
            if method == "eth_blockNumber":
                return {"jsonrpc": "2.0", "id": request["id"], "result": hex(newest)}
            if method == "eth_getLogs" and "toBlock" in params[0]:
                # Some nodes answer with the part of a range that they have.
                last = min(newest, int(params[0]["toBlock"], 16))
                if int(params[0]["fromBlock"], 16) > last:
                    return {"jsonrpc": "2.0", "id": request["id"], "result": []}
                params[0] = {**params[0], "toBlock": hex(last)}
        answer = self._ask({**request, "params": params})
        mined = answer.get("result") if method == "eth_getTransactionReceipt" else None
        if self.behind and mined and int(mined["blockNumber"], 16) > newest:
            answer["result"] = None
        if method in self.alter and "result" in answer:
            answer["result"] = self.alter[method](params, answer["result"])
        return answer

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = requests.post(self.upstream, json=request, timeout=10).json()
        return found

    def _head(self) -> int:
        ask = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        return int(self._ask(ask)["result"], 16)


@contextmanager
def run_proxy(upstream: str) -> Iterator[RpcProxy]:
    """Serve on a free loopback port until the block ends."""
    proxy = RpcProxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if proxy.take("drop"):
                self.close_connection = True
                return
            if proxy.take("limit"):
                self._reply(429, b"slow down")
                return
            request = json.loads(body)
            if proxy.take("limit_by_error"):
                error = {"code": -32005, "message": "limit exceeded"}
                answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"], "error": error}
            else:
                answer = proxy.answer(request)
            content = json.dumps(answer).encode()
            if proxy.take("cut"):
                self.close_connection = True
                self._reply(200, content, sent=len(content) // 2)
                return
            self._reply(200, content)

        def _reply(self, status: int, content: bytes, sent: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:sent])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
