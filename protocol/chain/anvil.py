"""A development chain: one anvil process on loopback, stopped by its own pid.

Its accounts are derived from anvil's public test mnemonic: anybody knows these keys, so they are
good for a development chain and for nothing else.
"""

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from protocol.chain.errors import ChainError

DEV_CHAIN_ID = 31337
FAUCET_KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""Account 0 of anvil's test mnemonic; public."""
START_SECONDS = 20.0
GAS_LIMIT = 30_000_000
"""Of a block, and a little more: by its port each chain has a first block of its own. Two that were
started in one second would otherwise be one chain to whoever tells chains apart by it."""


@dataclass(frozen=True, slots=True)
class Anvil:
    """A running anvil."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it and wait for its end."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def find_anvil() -> str:
    """Path of the anvil binary: GRADPROOF_ANVIL, this checkout's npm packages, or PATH."""
    named = os.environ.get("GRADPROOF_ANVIL")
    if named:
        return named
    packages = Path(__file__).parents[2] / "contracts" / "node_modules" / "@foundry-rs"
    for candidate in sorted(packages.glob("anvil-*/bin/anvil")):
        if os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which("anvil")
    if found is None:
        raise ChainError(
            "anvil is not installed",
            why="The development chain is an anvil process.",
            fix="Run `make setup` in a checkout, or set GRADPROOF_ANVIL to the binary.",
        )
    return found


def start_anvil(
    log: Path,
    *,
    port: int = 0,
    block_time: float | None = 1.0,
    hardfork: str = "prague",
    chain_id: int = DEV_CHAIN_ID,
    factory: bool = True,
) -> Anvil:
    """Start anvil and return when it answers; `block_time` None mines per transaction.

    Without `factory` the deterministic deployment factory is missing, as on a chain that nobody
    brought it to.
    """
    port = port or free_port()
    command = [find_anvil(), "--port", str(port), "--chain-id", str(chain_id), "--silent"]
    command += ["--gas-limit", str(GAS_LIMIT + port)]
    command += [] if factory else ["--disable-default-create2-deployer"]
    command += ["--hardfork", hardfork, "--accounts", "1", "--balance", "1000000"]
    if block_time is not None:
        command += ["--block-time", f"{block_time:g}", "--slots-in-an-epoch", "1"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 -- a binary we found, arguments we made
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    anvil = Anvil(f"http://127.0.0.1:{port}", process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(anvil.url):
            return anvil
        time.sleep(0.05)
    anvil.stop()
    raise ChainError("anvil did not start", why=log.read_text()[-500:], fix=f"See {log}.")


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        return requests.post(url, json=request, timeout=1).ok
    except requests.RequestException:
        return False
