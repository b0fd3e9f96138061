"""A whole market of real processes, and the power to make things go wrong in it."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import requests
from eth_account import Account

from coordinator.cast import Stage, make_actor, put_up_bonds
from coordinator.devnet import Devnet
from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, start_anvil
from protocol.chain.client import Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.market_config import DEV_CONFIG
from protocol.rules.records import JobId
from protocol.runtime.settings import Settings
from protocol.storage.node import start_node
from tests.chaos.plan import CHAIN, STORE, Disturbance, Kind
from tests.chaos.proxy import Proxy
from tests.support.posting import post_small_job

BLOCK_SECONDS = 0.4
COORDINATOR = "coordinator"
WORKERS = [f"worker-{i}" for i in (1, 2, 3, 4)]
VERIFIERS = [f"verifier-{i}" for i in (1, 2, 3)]
ROLES = [COORDINATOR, *WORKERS, *VERIFIERS]
COMMANDS = {
    COORDINATOR: ("coordinator", "run"),
    **dict.fromkeys(WORKERS, ("worker", "run", "--slots", "1")),
    **dict.fromkeys(VERIFIERS, ("verifier", "run", "--slots", "3")),
}
TASKS, CHECKS = 4, 2
GAVE_UP = 2
"""How a role ends that says what is wrong: for one that starts, a chain that does not answer is."""
RESTART_SECONDS = 1.0
# In blocks. Longer than everything a disturbance can take: what is late is late by a defect.
WINDOWS = {
    "waiting": 600,
    "commit": 240,
    "check": 320,
    "reveal": 200,
    "gather": 120,
    "verdict_seal": 200,
    "verdict_open": 120,
    "update": 240,
    "update_check": 320,
    "update_open": 160,
    "update_challenge": 30,
}


class Market:
    """Chain, store, a proxy before each, and every role as a process. Ends with `close`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mending: list[tuple[float, Callable[[], None]]] = []
        self.paused: set[str] = set()
        self.restarts = 0
        self.anvil = start_anvil(root / "anvil.log", block_time=BLOCK_SECONDS)
        self.node = start_node(root / "store")
        self.proxies = {CHAIN: Proxy(self.anvil.url), STORE: Proxy(self.node.api_url)}
        web3 = connect(self.anvil.url, DEV_CHAIN_ID)
        deployment = deploy(web3, Account.from_key(FAUCET_KEY), DEV_CONFIG)
        book = root / "deployment.json"
        deployment.write(book)
        net = Devnet(os.getpid(), self.proxies[CHAIN].url, self.proxies[STORE].url, str(book))
        self.stage = Stage(root, net)
        # The director looks past the proxies: nothing is hidden from it.
        self.chain = Chain(self.anvil.url, deployment)
        self.settings = Settings(
            home=root / "requester",
            rpc_url=self.anvil.url,
            ipfs_api=self.node.api_url,
            deployment=book,
        )
        self.actors = {name: make_actor(root, name) for name in ROLES}
        put_up_bonds(self.chain, root, list(self.actors.values()))

    def start(self, name: str) -> None:
        """Start a role's process; its predecessor's log is kept."""
        log = self.root / "logs" / f"{name}.log"
        if log.exists():
            self.restarts += 1
            log.rename(log.with_suffix(f".{self.restarts}.log"))
        self.stage.start(self.actors[name], *COMMANDS[name])

    def post(self, rounds: int) -> JobId:
        """The job that everybody works on."""
        market = {"checks": CHECKS, "min_workers": len(WORKERS), "windows": WINDOWS}
        coordinator = self.actors[COORDINATOR]
        return post_small_job(
            self.chain, self.settings, self.root, coordinator, market, rounds=rounds, tasks=TASKS
        )

    # --- disturbing ---

    def disturb(self, what: Disturbance) -> None:
        """Do it, and take it back when its time is over; returns at once but for a reorg."""
        match what.kind:
            case Kind.REORG:
                self.rpc("anvil_reorg", what.depth, [])
            case Kind.CUT:
                self.proxies[what.target].cut()
                self._later(what.seconds, self.proxies[what.target].heal)
            case Kind.PAUSE:
                process = self._process(what.target)
                if process is not None:
                    process.suspend()
                    self.paused.add(what.target)
                    self._later(what.seconds, partial(self._resume, what.target, process))
            case Kind.KILL if what.target == STORE:
                self._kill_store(what.seconds)
            case Kind.KILL:
                self._kill_role(what.target, what.seconds)

    def _resume(self, name: str, process: psutil.Process) -> None:
        self.paused.discard(name)
        with contextlib.suppress(psutil.NoSuchProcess):  # killed meanwhile
            process.resume()

    def _kill_role(self, name: str, seconds: float) -> None:
        role = next((r for r in self.stage.running if r.name == name), None)
        if role is None:
            return  # dead already, and about to come back
        self.stage.running.remove(role)
        role.process.kill()
        role.process.wait(10)
        self._later(seconds, lambda: self.start(name))

    def _kill_store(self, seconds: float) -> None:
        os.kill(self.node.pid, signal.SIGKILL)
        port = int(self.node.api_url.rpartition(":")[2])

        def again() -> None:
            self.node = start_node(self.root / "store", port)

        self._later(seconds, again)

    def _process(self, name: str) -> psutil.Process | None:
        if name == CHAIN:
            return psutil.Process(self.anvil.process.pid)
        if name == STORE:
            return psutil.Process(self.node.pid) if self.node.is_running else None
        role = next((r for r in self.stage.running if r.name == name), None)
        return None if role is None else psutil.Process(role.process.pid)

    def _later(self, seconds: float, mend: Callable[[], None]) -> None:
        self.mending.append((time.monotonic() + seconds, mend))

    def supervise(self) -> list[str]:
        """Start again what gave up in words, as systemd would; what broke instead is returned."""
        broken = []
        for role in [r for r in self.stage.running if r.process.poll() is not None]:
            self.stage.running.remove(role)
            if role.process.returncode != GAVE_UP:
                broken.append(f"{role.name} ended by itself with {role.process.returncode}")
            self._later(RESTART_SECONDS, partial(self.start, role.name))
        return broken

    def mend(self, *, everything: bool = False) -> None:
        """Take back what has lasted long enough."""
        now = time.monotonic()
        for entry in [m for m in self.mending if everything or m[0] <= now]:
            self.mending.remove(entry)
            entry[1]()

    def rpc(self, method: str, *params: object) -> None:
        """Tell the chain something, past the proxy; a paused one does not answer."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        with contextlib.suppress(requests.RequestException):
            requests.post(self.anvil.url, json=request, timeout=20)

    def close(self) -> list[str]:
        """End everything; returns the processes that are left all the same."""
        self.mend(everything=True)
        self.stage.stop()
        self.node.stop()
        self.anvil.stop()
        return [
            f"{process.info['pid']}: {' '.join(process.info['cmdline'] or [])[:120]}"
            for process in psutil.process_iter(["pid", "cmdline", "environ"])
            if (process.info["environ"] or {}).get("GRADPROOF_HOME", "").startswith(str(self.root))
        ]
