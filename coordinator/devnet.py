"""A development network on this machine: anvil, a content store, and a fresh market.

`start` launches one daemon that owns both servers and ends them when it ends; what others need to
know lies in devnet.json. Run as `python -m coordinator.devnet HOME`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from protocol.rules.errors import GradproofError

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class DevnetError(GradproofError):
    """The development network cannot be started or stopped."""


@dataclass(frozen=True, slots=True)
class Devnet:
    """A running development network."""

    pid: int
    rpc_url: str
    ipfs_api: str
    deployment: str

    @classmethod
    def read(cls, home: Path) -> "Devnet | None":
        """The network that runs from `home`, or None."""
        try:
            devnet = cls(**json.loads((home / "devnet.json").read_text()))
            os.kill(devnet.pid, 0)
        except (OSError, json.JSONDecodeError, TypeError):
            return None
        return devnet


def start(home: Path, *, block_time: float = 1.0) -> Devnet:
    """Start a network from `home` and return when it can be used."""
    if Devnet.read(home) is not None:
        raise DevnetError(
            f"a development network runs from {home} already",
            fix="Use it, or end it with `gradproof devnet down`.",
        )
    home.mkdir(parents=True, exist_ok=True)
    (home / "devnet.json").unlink(missing_ok=True)
    log = home / "devnet.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
            [sys.executable, "-m", "coordinator.devnet", str(home), str(block_time)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and daemon.poll() is None:
            devnet = Devnet.read(home)
            if devnet is not None:
                daemon.returncode = 0  # meant to go on when this object is gone: nothing to warn of
                return devnet
            time.sleep(0.1)
    except BaseException:
        # A Ctrl-C now must not leave servers behind that nobody knows of.
        _end(daemon)
        raise
    _end(daemon)
    last = log.read_text().strip().splitlines()[-1:] or ["no output"]
    raise DevnetError("the development network did not start", why=last[0], fix=f"See {log}.")


def _end(daemon: subprocess.Popen[bytes]) -> None:
    """SIGTERM, which ends the servers too, and its exit code collected."""
    daemon.terminate()
    try:
        daemon.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def stop(home: Path) -> bool:
    """End the network of `home` and wait for its end; False where none runs."""
    devnet = Devnet.read(home)
    if devnet is None:
        return False
    os.kill(devnet.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while (home / "devnet.json").exists():
        if time.monotonic() > deadline:
            raise DevnetError(
                f"the development network (pid {devnet.pid}) does not end",
                fix=f"See {home / 'devnet.log'}, then kill that process.",
            )
        time.sleep(0.05)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(devnet.pid, 0)  # where this process started it
    return True


def serve(home: Path, block_time: float) -> None:
    """Run chain and store until SIGTERM."""
    from eth_account import Account

    from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, start_anvil
    from protocol.chain.client import connect
    from protocol.chain.deploy import deploy
    from protocol.chain.market_config import DEV_CONFIG
    from protocol.runtime.settings import Settings
    from protocol.storage.node import start_node

    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    state = home / "devnet.json"
    with ExitStack() as stack:
        # Goes last: who waits for its end knows that both servers have ended.
        stack.callback(lambda: state.unlink(missing_ok=True))
        anvil = start_anvil(home / "anvil.log", block_time=block_time)
        stack.callback(anvil.stop)
        apis = Settings().ipfs_api
        if not apis:
            node = start_node(home / "store")
            stack.callback(node.stop)
            apis = node.api_url
        web3 = connect(anvil.url, DEV_CHAIN_ID)
        deployment = deploy(web3, Account.from_key(FAUCET_KEY), DEV_CONFIG)
        book = home / "deployment.json"
        deployment.write(book)
        part = state.with_suffix(".part")
        part.write_text(json.dumps(asdict(Devnet(os.getpid(), anvil.url, apis, str(book)))))
        part.replace(state)
        while not ending.wait(0.5):
            if anvil.process.poll() is not None:
                raise DevnetError("anvil ended", fix=f"See {home / 'anvil.log'}.")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), float(sys.argv[2]))
