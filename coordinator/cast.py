"""The people of the demo: wallets, bonds, and one operating-system process per role.

Each role has a home folder and keys of its own; they meet through chain and content store only.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from coordinator.devnet import Devnet
from coordinator.faucet import fund
from protocol.chain.client import Call, Chain
from protocol.chain.payment import with_permit
from protocol.chain.tx_sender import TxSender
from protocol.chain.wallet import store
from protocol.database.opening import open_database
from protocol.rules.amounts import UNITS
from protocol.rules.errors import GradproofError
from protocol.rules.records import Address

PASSWORD = "for-a-development-chain-only"  # noqa: S105 -- keys of a throw-away chain
SCRYPT_WORK = 4096
DEPOSIT = 200 * UNITS
LIMIT = 190 * UNITS
LEAVE_SECONDS = 3.0
"""How long a role may take to finish what it has begun; a play is over when its job is."""
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Actor:
    """One provider: a cold owner key, a hot operator key, a home."""

    name: str
    home: Path
    owner: LocalAccount
    operator: LocalAccount

    @property
    def address(self) -> Address:
        """The owner's address, which earns and is slashed."""
        return Address(self.owner.address)


def make_actor(root: Path, name: str) -> Actor:
    """New keys for one provider; only the operator's lies where its role can read it."""
    owner, operator = Account.create(), Account.create()
    home = root / name
    store(root / "owners" / f"{name}.json", bytes(owner.key), PASSWORD, work=SCRYPT_WORK)
    store(home / "wallets" / "operator.json", bytes(operator.key), PASSWORD, work=SCRYPT_WORK)
    return Actor(name, home, owner, operator)


def put_up_bonds(chain: Chain, root: Path, actors: list[Actor]) -> None:
    """Fund every provider, deposit its bond, authorise its operator."""
    accounts = [(actor.address, DEPOSIT) for actor in actors]
    accounts += [(Address(actor.operator.address), 0) for actor in actors]
    fund(chain, root, accounts)
    senders = []
    for actor in actors:
        engine = open_database(root / "owners" / f"{actor.name}.sqlite")
        sender = TxSender(chain, actor.owner, engine)
        deposit = Call(chain.vault, "deposit", (DEPOSIT,))
        permitted = with_permit(chain, actor.owner, deposit, DEPOSIT)
        assert permitted is not None, "the development token knows permits"
        sender.submit("deposit", permitted)
        limit = Call(chain.vault, "authorise", (actor.operator.address, LIMIT))
        sender.submit("authorise", limit)
        senders.append(sender)
    for sender in senders:
        sender.wait("deposit")
        sender.wait("authorise")


@dataclass(slots=True)
class Running:
    """A role's process, and what it used once it has ended."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


class Stage:
    """Starts role processes and ends every one of them, whatever happens.

    `variables` are added to the environment of every role.
    """

    def __init__(
        self,
        root: Path,
        devnet: Devnet,
        worker_device: str = "cpu",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.worker_device = worker_device
        self.variables = dict(variables or {})
        self.root = root
        self.devnet = devnet
        self.running: list[Running] = []

    def environment(self, actor: Actor | None, home: Path) -> dict[str, str]:
        """What a role's process is told; the demo's own variables do not leak into it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GRADPROOF_")}
        works = actor is not None and actor.name.startswith("worker")
        return kept | {
            "GRADPROOF_DEVICE": self.worker_device if works else "cpu",
            "GRADPROOF_HOME": str(home),
            "GRADPROOF_RPC_URL": self.devnet.rpc_url,
            "GRADPROOF_IPFS_API": self.devnet.ipfs_api,
            "GRADPROOF_DEPLOYMENT": self.devnet.deployment,
            "GRADPROOF_PASSWORD": PASSWORD,
            "GRADPROOF_PROVIDER": "" if actor is None else actor.address,
            "GRADPROOF_METRICS": "127.0.0.1:0",  # any free port; the log names it
            # Seven roles share this machine; more threads each would only get in each other's way.
            "OMP_NUM_THREADS": "1",
            **self.variables,
        }

    def start(self, actor: Actor, *arguments: str) -> None:
        """Start `gradproof ARGUMENTS` as this actor."""
        log = self.root / "logs" / f"{actor.name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
                [sys.executable, "-m", "coordinator.cli.main", *arguments],
                env=self.environment(actor, actor.home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.running.append(Running(actor.name, process, log))

    def check(self) -> None:
        """Raise GradproofError where a role has ended by itself."""
        for role in self.running:
            if role.process.poll() is not None:
                last = role.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise GradproofError(
                    f"{role.name} ended with exit code {role.process.returncode}",
                    why=last[0] if last else "It said nothing.",
                    fix=f"See {role.log}.",
                )

    def stop(self) -> None:
        """End every role and note what each one used: let it leave, tell it again, kill it."""
        living = [role for role in self.running if role.process.returncode is None]
        began = time.monotonic()
        for after, number in (
            (0.0, signal.SIGTERM),
            (LEAVE_SECONDS, signal.SIGTERM),
            (STOP_SECONDS, signal.SIGKILL),
        ):
            while (living := [r for r in living if not _reaped(r)]) and (
                time.monotonic() - began < after
            ):
                time.sleep(0.05)
            for role in living:
                os.kill(role.process.pid, number)  # not reaped, so nobody else has the number
        while living := [role for role in living if not _reaped(role)]:
            time.sleep(0.05)


def _reaped(role: Running) -> bool:
    """Collect an ended process together with what it used; False while it runs."""
    pid, status, usage = os.wait4(role.process.pid, os.WNOHANG)
    if pid == 0:
        return False
    role.process.returncode = os.waitstatus_to_exitcode(status)
    role.cpu_seconds = usage.ru_utime + usage.ru_stime
    role.peak_mib = usage.ru_maxrss / 1024
    return True
