"""Real brokers on free loopback ports, which tests may kill and start again."""

import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO

import pytest

from protocol.chain.anvil import free_port

HOW_TO_GET = "run `make servers`, or install it"
START_SECONDS = 90.0


class Broker(ABC):
    """One server with a folder of its own; `url` stays the same over restarts."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="gradproof-broker-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """What GRADPROOF_BROKER is set to."""

    @abstractmethod
    def spawn(self) -> "subprocess.Popen[bytes]":
        """Start the server without waiting for it."""

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.process = self.spawn()
        until = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, (self.root / "log").read_text()
            if self.listens():
                return
            assert time.monotonic() < until, "the broker does not listen"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: no goodbye to any connection."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)
        self.process = None
        until = time.monotonic() + START_SECONDS
        while self.listens():
            assert time.monotonic() < until, "the broker is still there"
            time.sleep(0.05)

    def listens(self) -> bool:
        """Tell whether somebody takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """End it for good."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, command: list[str], **environment: str) -> "subprocess.Popen[bytes]":
        """Start a program in the broker's folder."""
        with (self.root / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.root, env=os.environ | environment, stdout=log, stderr=log
            )


class Redis(Broker):
    """Forgets everything when it is killed."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def spawn(self) -> "subprocess.Popen[bytes]":
        server = shutil.which("redis-server")
        if server is None:
            pytest.skip(f"no redis-server here: {HOW_TO_GET}")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", "."]
        return self.run([server, *options])


class RabbitMQ(Broker):
    """With an Erlang port mapper of its own, so that nothing outlives it."""

    def __init__(self) -> None:
        super().__init__()
        self.mapper_port = free_port()
        self.mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def spawn(self) -> "subprocess.Popen[bytes]":
        server = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        mappers = sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
        if not server.exists() or not mappers:
            pytest.skip(f"no rabbitmq-server here: {HOW_TO_GET}")
        if self.mapper is None:
            command = [str(mappers[-1]), "-port", str(self.mapper_port)]
            self.mapper = self.run([*command, "-address", "127.0.0.1"])
        return self.run(
            [str(server)],
            HOME=str(self.root),  # Erlang's cookie
            ERL_EPMD_PORT=str(self.mapper_port),
            RABBITMQ_NODENAME=f"test{self.port}@localhost",
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_PORT=str(self.port),
            RABBITMQ_DIST_PORT=str(free_port()),
            RABBITMQ_MNESIA_BASE=str(self.root / "data"),
            RABBITMQ_LOG_BASE=str(self.root / "logs"),
            RABBITMQ_PID_FILE=str(self.root / "pid"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.root / "plugins"),
            RABBITMQ_CONF_ENV_FILE=str(self.root / "none"),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none",
        )

    def kill(self) -> None:
        # The script starts the Erlang machine, which writes down its pid.
        pid = self.root / "pid"
        os.kill(int(pid.read_text()), 9)
        pid.unlink()
        super().kill()

    def close(self) -> None:
        super().close()
        if self.mapper is not None:
            self.mapper.kill()
            self.mapper.wait(10)


class ReadOnlyRedis:
    """Speaks as much Redis as a listener needs, and refuses it what a replica would."""

    REFUSAL = b"-READONLY You can't write against a read only replica.\r\n"

    def __init__(self) -> None:
        self.refused = 0
        self.open: set[socket.socket] = set()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._serve)
        self._server.daemon_threads = True
        self.url = f"redis://127.0.0.1:{self._server.server_address[1]}/0"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, connection: socket.socket, *_: object) -> None:
        self.open.add(connection)
        with connection, connection.makefile("rb") as words:
            while head := words.readline():
                command = [self._word(words) for _ in range(int(head[1:]))]
                connection.sendall(self._reply(command[0].upper()))
        self.open.discard(connection)

    def _word(self, words: BinaryIO) -> bytes:
        size = int(words.readline()[1:])
        return words.read(size + 2)[:-2]

    def _reply(self, name: bytes) -> bytes:
        if name in (b"SET", b"SADD", b"BRPOP"):
            self.refused += 1
            return self.REFUSAL
        known = {b"PING": b"+PONG\r\n", b"HELLO": b"%1\r\n+proto\r\n:3\r\n"}
        return known.get(name, b":1\r\n")
