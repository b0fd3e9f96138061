"""`gradproof doctor` on a configuration: chain, contracts, clock, key, money, store, disk."""

import json
import shutil
import socket
import time
from pathlib import Path

import pytest
from eth_account import Account

from coordinator.checks import Result, State, examine
from coordinator.checks import host as host_checks
from coordinator.checks import market as market_checks
from coordinator.devnet import Devnet
from coordinator.faucet import fund
from protocol.chain.client import Call, Chain, connect
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.rules.amounts import UNITS
from protocol.rules.records import Address
from protocol.runtime.settings import Settings, load_settings
from tests.support.command_line import Gradproof
from tests.support.rpc_proxy import run_proxy


@pytest.fixture(scope="module")
def owner(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> TxSender:
    """Somebody with ether and 100 tokens, of which 10 are put up as bond."""
    root = tmp_path_factory.mktemp("owner")
    account = Account.create()
    fund(chain, root, [(Address(account.address), 100 * UNITS)])
    sender = TxSender(chain, account, open_database(root / "chain.sqlite"))
    approve = Call(chain.token, "approve", (chain.vault.address, 10 * UNITS))
    sender.send("approve", approve)
    sender.send("deposit", Call(chain.vault, "deposit", (10 * UNITS,)))
    return sender


def found(settings: Settings, which: str = "market") -> dict[str, Result]:
    """The findings of a group, by name."""
    group = market_checks.market if which == "market" else host_checks.host
    checks = group(settings)
    groups = [checks] if which == "market" else [[check] for check in checks]
    return {result.name: result for result in examine(groups)}


def test_operator_with_everything_canWork(
    home: Path, chain: Chain, owner: TxSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each missing thing is named, in the order in which it is needed, with who mends it."""
    results = found(load_settings())
    assert results["chain"].state is State.OK
    assert results["contracts"].finding.endswith(str(chain.deployment.market))
    assert results["clock"].state is State.OK
    assert results["operator key"].state is State.OK
    gas = results["gas"]
    assert gas.state is State.FAIL
    operator = gas.fix.split()[-1].rstrip(".")
    assert list(results)[-1] == "gas", "what comes after needs it"

    chain.set_balance(Address(operator), 10**18)
    results = found(load_settings())
    assert results["gas"].state is State.OK
    assert results["provider"].state is State.FAIL
    assert "GRADPROOF_PROVIDER" in results["provider"].fix

    monkeypatch.setenv("GRADPROOF_PROVIDER", owner.address)
    results = found(load_settings())
    assert results["allowance"].state is State.FAIL
    assert operator in results["allowance"].fix

    owner.send("authorise", Call(chain.vault, "authorise", (operator, 5 * UNITS)))
    results = found(load_settings())
    assert {r.state for r in results.values()} == {State.OK}
    assert results["allowance"].finding == "0 of 5 tokens are locked"
    assert results["bond"].finding == "10 tokens free, 0 locked"


def test_endpoints_thatAreNoHelp_areTold(
    home: Path, devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "endpoints" not in found(load_settings())
    monkeypatch.setenv("GRADPROOF_RPC_URL", f"{devnet.rpc_url}, {devnet.rpc_url}")
    assert found(load_settings())["endpoints"].state is State.OK
    monkeypatch.setenv("GRADPROOF_RPC_URL", f"{devnet.rpc_url},http://127.0.0.1:9/v3/secret")
    told = found(load_settings())["endpoints"]
    assert told.state is State.WARN
    assert told.finding == "http://127.0.0.1:9 does not answer"
    with run_proxy(devnet.rpc_url) as proxy:
        proxy.behind = 40
        monkeypatch.setenv("GRADPROOF_RPC_URL", f"{devnet.rpc_url},{proxy.url}")
        until = time.monotonic() + 60
        while chain_head(devnet) < 50:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert f"{proxy.url} is 4" in found(load_settings())["endpoints"].finding


def chain_head(devnet: Devnet) -> int:
    return int(connect(devnet.rpc_url, None).eth.block_number)


def test_clock_thatIsWrong_isTold(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, now = load_settings(), time.time
    monkeypatch.setattr(market_checks.time, "time", lambda: now() - 1000)
    assert "this clock's future" in found(settings)["clock"].finding
    monkeypatch.setattr(market_checks.time, "time", lambda: now() + 1000)
    late = found(settings)["clock"]
    assert (late.state, "old by this clock" in late.finding) == (State.WARN, True)


def test_password_thatIsWrong_orMissing_isTold(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADPROOF_PASSWORD", "another")
    assert found(load_settings())["operator key"].state is State.FAIL
    monkeypatch.setenv("GRADPROOF_PASSWORD", "")
    assert found(load_settings())["operator key"].state is State.WARN
    monkeypatch.setenv("GRADPROOF_OPERATOR", "nobody")
    assert "wallet new nobody" in found(load_settings())["operator key"].fix


def test_contracts_thatAreOthers_areTold(
    home: Path, devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address book that points elsewhere is found out before a key is asked for."""
    book = json.loads(Path(devnet.deployment).read_text())
    book["market"], book["vault"] = book["vault"], book["market"]
    path = tmp_path / "book.json"
    path.write_text(json.dumps(book))
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(path))
    results = found(load_settings())
    assert results["chain"].state is State.FAIL
    assert list(results) == ["chain"]


def test_noMarket_isARemark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path)
    assert found(settings)["market"].state is State.NOTE
    missing = Settings(home=tmp_path, deployment=tmp_path / "book.json")
    assert "GRADPROOF_DEPLOYMENT" in found(missing)["chain"].fix


def test_host_ofAnOperator(home: Path, devnet: Devnet) -> None:
    settings = load_settings()
    results = found(settings, "host")
    assert "blocks" in results["store"].finding
    assert results["keystores"].state is State.OK
    assert results["disk"].state in (State.OK, State.WARN)
    down = settings.model_copy(update={"ipfs_api": "http://127.0.0.1:9"})
    assert found(down, "host")["store"].state is State.FAIL
    one_down = settings.model_copy(update={"ipfs_api": f"http://127.0.0.1:9,{devnet.ipfs_api}"})
    _, stores, *_ = host_checks.host(one_down)
    states = [r.state for r in stores()]
    assert sorted(states) == [State.OK, State.WARN], "one daemon is enough to work with"
    none = settings.model_copy(update={"ipfs_api": ""})
    assert "store serve" in found(none, "host")["store"].fix


def test_device_isTold() -> None:
    here = found(Settings(device="cpu"), "host")["device"]
    assert here.state is State.OK
    assert here.finding.startswith("cpu computes, ")
    for missing in ("cuda:99", "gpu"):
        told = found(Settings(device=missing), "host")["device"]
        assert told.state is State.FAIL
        assert missing in told.finding
        assert "cpu" in told.fix


def test_full_disk_isTold(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    for free, state in ((2**30, State.WARN), (8 * 2**30, State.WARN), (2**40, State.OK)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, f=free: usage._replace(free=f))
        assert found(load_settings(), "host")["disk"].state is state


def test_keystore_thatOthersMayRead_isTold(home: Path) -> None:
    path = home / "wallets" / "operator.json"
    path.chmod(0o644)
    result = found(load_settings(), "host")["keystores"]
    assert (result.state, result.fix) == (State.WARN, f"chmod 600 {path}")


def test_metrics_address_isTried(home: Path) -> None:
    settings = load_settings()

    def at(address: str) -> Result:
        return found(settings.model_copy(update={"metrics": address}), "host")["metrics"]

    assert at("").state is State.NOTE
    assert at("127.0.0.1:0").state is State.OK
    assert at("nonsense").state is State.FAIL
    assert at("192.0.2.1:9464").state is State.FAIL  # reserved for documentation: nobody's
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert at(f"127.0.0.1:{taken.getsockname()[1]}").state is State.NOTE


def test_command_saysWhatTheMachineCanDo(
    gradproof: Gradproof, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coordinator.checks import engine

    monkeypatch.setattr(engine, "ENGINE", ())
    said = gradproof("doctor", "--json")
    report = json.loads(said.out)
    assert said.code == 1, "the operator has no gas"
    assert (report["can_run"], report["can_work"]) == (True, False)
    said = gradproof("doctor")
    assert "This machine can run a role.\n" in said.out
    assert "This machine cannot work for this market: " in said.out
    assert gradproof("doctor", "--engine").code == 0
