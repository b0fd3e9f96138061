"""A TCP proxy that can be cut: connections break, new ones are refused, until it heals."""

import contextlib
import selectors
import socket
import threading
from urllib.parse import urlsplit

CHUNK = 65536


class Proxy:
    """Stands before one server on loopback; `url` is where clients find it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._port = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.heal()
        self.url = f"{parts.scheme}://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        with self._lock:
            listener, self._listener = self._listener, None
            broken, self._open = self._open, set()
        for ended in (*([listener] if listener else []), *broken):
            _end(ended)

    def heal(self) -> None:
        """Take connections again, at the same address."""
        with self._lock:
            if self._listener is not None:
                return
            listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
            self._listener, self._port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # cut
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server, timeout=10)
        except OSError:
            _end(client)
            return
        with self._lock:
            if self._listener is None:
                _end(client)
                _end(server)
                return
            self._open |= {client, server}
        _pump(client, server)
        with self._lock:
            self._open -= {client, server}
        _end(client)
        _end(server)


def _pump(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until either end is done, or a cut closes them."""
    with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                data = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]  # both are sockets
                if not data:
                    return
                key.data.sendall(data)


def _end(ended: socket.socket) -> None:
    with contextlib.suppress(OSError):
        ended.shutdown(socket.SHUT_RDWR)
    ended.close()
