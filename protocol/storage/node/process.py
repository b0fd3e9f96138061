"""Start the embedded node as a process of its own, and stop it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import protocol
from protocol.storage.errors import NodeFailed, NodeLocked

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0


@dataclass(slots=True)
class NodeProcess:
    """A running node. It ends with `stop`, at the end of a `with` block, or with its parent."""

    api_url: str
    gateway_url: str
    pid: int
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop the node and wait for it; stopping twice is fine. Raises `NodeFailed`."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise NodeFailed(
                f"the node {self.pid} did not stop within {STOP_SECONDS:g} s and was killed; "
                "what it had acknowledged is on disk."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_node(
    root: Path,
    port: int = 0,
    *,
    gateway_host: str = "127.0.0.1",
    gateway_port: int = 0,
    quota: int | None = None,
    grace: float | None = None,
) -> NodeProcess:
    """Start a node over `root` and return when it answers.

    `port` 0 takes a free one; `quota` in bytes, `grace` in seconds. Raises `NodeLocked` when
    another process serves the folder, `NodeFailed` when the node does not come up.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="gradproof-node-") as scratch:
        ready, log = Path(scratch, "ready.json"), Path(scratch, "log.txt")
        command = [sys.executable, "-m", "protocol.storage.node", "--until-stdin-closes"]
        command += ["--root", str(root), "--port", str(port), "--ready-file", str(ready)]
        command += ["--gateway-host", gateway_host, "--gateway-port", str(gateway_port)]
        if quota is not None:
            command += ["--quota", str(quota)]
        if grace is not None:
            command += ["--grace", str(grace)]
        with log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C is for the parent, which then stops us in order
            )
        try:
            found = _wait(process, ready, log, root)
        except BaseException:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
            raise
    return NodeProcess(found["api_url"], found["gateway_url"], process.pid, process)


def _environment() -> dict[str, str]:
    """Let the child import the very package that starts it, installed or not."""
    here = str(Path(protocol.__path__[0]).parent)
    inherited = os.environ.get("PYTHONPATH")
    path = here if not inherited else os.pathsep.join((here, inherited))
    return {**os.environ, "PYTHONPATH": path}


def _wait(process: subprocess.Popen[bytes], ready: Path, log: Path, root: Path) -> dict[str, str]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if ready.exists():
            found: dict[str, str] = json.loads(ready.read_text())
            return found
        if process.poll() is not None:
            why = log.read_text(errors="replace").strip()[-1000:]
            if why.startswith("NodeLocked"):
                raise NodeLocked(why.removeprefix("NodeLocked: "))
            raise NodeFailed(f"the node for {root} did not start: {why or process.returncode}")
        time.sleep(0.01)
    raise NodeFailed(f"the node for {root} did not answer within {START_SECONDS:g} s.")
