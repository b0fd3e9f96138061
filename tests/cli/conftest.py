"""One development network for all command line tests, and the command line itself."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_account import Account

from coordinator import devnet as network
from coordinator.cli.main import main
from coordinator.devnet import Devnet
from coordinator.faucet import fund
from protocol.chain.client import Chain
from protocol.chain.deployment import Deployment
from protocol.chain.wallet import store
from protocol.rules.amounts import UNITS
from protocol.rules.records import Address
from tests.support.command_line import Gradproof, Said

PASSWORD = "of a test wallet"


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A real chain, a real store, a fresh market."""
    home = tmp_path_factory.mktemp("devnet")
    yield network.start(home, block_time=0.2)
    network.stop(home)


@pytest.fixture(scope="session")
def chain(devnet: Devnet) -> Chain:
    """The tests' own eyes on it."""
    return Chain(devnet.rpc_url, Deployment.read(Path(devnet.deployment)))


@pytest.fixture(scope="session")
def key(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A requester with 1000 tokens."""
    account = Account.create()
    fund(chain, tmp_path_factory.mktemp("faucet"), [(Address(account.address), 1000 * UNITS)])
    return bytes(account.key)


@pytest.fixture
def home(tmp_path: Path, devnet: Devnet, key: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the requester's wallet; the environment points everything at the network."""
    home = tmp_path / "home"
    for name in [name for name in os.environ if name.startswith("GRADPROOF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GRADPROOF_HOME", str(home))
    monkeypatch.setenv("GRADPROOF_RPC_URL", devnet.rpc_url)
    monkeypatch.setenv("GRADPROOF_IPFS_API", devnet.ipfs_api)
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", devnet.deployment)
    monkeypatch.setenv("GRADPROOF_PASSWORD", PASSWORD)
    store(home / "wallets" / "requester.json", key, PASSWORD, work=4096)
    store(home / "wallets" / "operator.json", bytes(Account.create().key), PASSWORD, work=4096)
    return home


@pytest.fixture
def gradproof(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Gradproof:
    """Run a command line in this process."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["gradproof", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def refused(gradproof: Gradproof) -> Callable[..., str]:
    """Run a command that must be refused in sentences; returns what it says."""

    def run(*arguments: object) -> str:
        said = gradproof(*arguments)
        assert said.code == 2, said
        assert said.err.startswith("error: ") or "\nerror: " in said.err, said
        assert "Traceback" not in said.err + said.out
        assert said.out == ""
        return said.err

    return run


@pytest.fixture
def untouched(home: Path, chain: Chain, key: bytes) -> Iterator[None]:
    """Whatever the test runs sends no transaction and leaves no half-written file."""
    address = Account.from_key(key).address

    def state() -> tuple[int, int]:
        count = chain.web3.eth.get_transaction_count(address, "pending")
        return int(count), int(chain.call(chain.market, "jobs"))

    before = state()
    yield
    assert state() == before
    assert not [p for p in home.rglob("*") if ".part" in p.name or ".export" in p.name]
