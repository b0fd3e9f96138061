"""gradproof contracts, and that no role or command uses a market that is not the audited one."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from coordinator.deployment_file import read_deployment_file
from coordinator.devnet import Devnet
from protocol.chain.anvil import FAUCET_KEY
from protocol.chain.artifacts import artifact, link
from protocol.chain.beacons import BeaconKind
from protocol.chain.client import Chain, connect
from protocol.chain.create2 import FACTORY, create2_address, created_by
from protocol.chain.creator import Creator
from protocol.chain.deployment import Deployment
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.plan import plan_market
from protocol.chain.wallet import store
from protocol.rules.records import ZERO32
from tests.cli.conftest import PASSWORD
from tests.support.command_line import Gradproof
from tests.support.small_jobs import job_file_text

Refused = Callable[..., str]
OWNER = Account.from_key(b"\x0a" * 32).address
EVERYBODY = [
    ["worker", "run"],
    ["verifier", "run"],
    ["coordinator", "run"],
    ["audit", "1"],
    ["job", "show"],
    ["job", "show", "1"],
    ["job", "watch", "1"],
    ["job", "stop", "1"],
    ["job", "export", "1", "--out", "model"],
    ["wallet", "show", "requester"],
    ["wallet", "deposit", "requester", "1"],
    ["wallet", "authorise", "requester", OWNER, "1"],
    ["wallet", "sign-authorisation", "requester", OWNER, "1", "--out", "signed"],
    ["wallet", "cancel-authorisation", "requester", OWNER],
    ["wallet", "withdraw", "requester", "1", OWNER],
    ["wallet", "collect", "requester", OWNER],
    ["devnet", "fund", "requester"],
]


@pytest.fixture(scope="module")
def tampered(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book of a market that is like ours in everything but one byte of its code.

    It was really deployed: it answers, its vault names it, its libraries are the audited ones.
    """
    book, web3 = chain.deployment, chain.web3
    ours = plan_market(book.token, book.config, book.salt)
    compiled = artifact("JobMarket")
    code = bytearray.fromhex(link(compiled.bytecode, compiled.link_references, ours.libraries)[2:])
    tail = bytes.fromhex(compiled.deployed_bytecode[-128:])  # the end of what will run
    code[code.index(tail)] ^= 1
    init = bytes(code) + ours.creations[-1].arguments
    creator = Creator(web3, Account.from_key(FAUCET_KEY))
    creator.send(FACTORY, ZERO32 + init)
    creator.finish()
    market = create2_address(init, ZERO32)
    assert web3.eth.get_code(market)  # type: ignore[arg-type]  # a checksummed str
    path = tmp_path_factory.mktemp("tampered") / "book.json"
    replace(book, market=market, vault=created_by(market)).write(path)
    return path


@pytest.mark.parametrize("command", EVERYBODY, ids=" ".join)
def test_nobodyUsesATamperedMarket(
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    tampered: Path,
    untouched: None,
    command: list[str],
) -> None:
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(tampered))
    monkeypatch.setenv("GRADPROOF_PROVIDER", OWNER)
    said = refused(*command)
    market = Deployment.read(tampered).market
    assert f"the code at {market} is not the JobMarket of this release" in said
    assert said.count("0x") >= 3, "the address, the audited hash, the found one"
    assert "do not send money there" in said


def test_nobodyPostsToATamperedMarket(
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    tampered: Path,
    untouched: None,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(tampered))
    (tmp_path / "job.toml").write_text(job_file_text(OWNER))
    assert "is not the JobMarket of this release" in refused("job", "post", tmp_path / "job.toml")


@pytest.mark.parametrize("role", ["worker", "verifier", "coordinator"])
def test_roleAsAProcess_endsAtOnce(
    home: Path, monkeypatch: pytest.MonkeyPatch, tampered: Path, role: str
) -> None:
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(tampered))
    monkeypatch.setenv("GRADPROOF_PROVIDER", OWNER)
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli.main", role, "run"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "is not the JobMarket of this release" in done.stderr
    assert "Traceback" not in done.stderr


# --- verify ---


def test_verify_namesEveryContract(gradproof: Gradproof, chain: Chain) -> None:
    said = gradproof("contracts", "verify", "--json")
    assert said.code == 0, said
    fields = json.loads(said.out)
    assert fields["verdict"] == "audited"
    rows = {row["contract"]: row for row in fields["contracts"]}
    assert {n: row["address"] for n, row in rows.items()} == plan_market(
        chain.deployment.token, chain.deployment.config
    ).addresses
    assert all(row["expected"] == row["found"] for row in rows.values())
    assert "audited" in gradproof("contracts", "verify").out


def test_verify_showsWhatDiffers(
    gradproof: Gradproof, monkeypatch: pytest.MonkeyPatch, tampered: Path
) -> None:
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(tampered))
    said = gradproof("contracts", "verify", "--json")
    assert said.code == 2
    fields = json.loads(said.out)
    assert fields["verdict"] == "NOT the audited market"
    bad = [row["contract"] for row in fields["contracts"] if row["verdict"] != "ok"]
    assert bad == ["JobMarket"]
    assert "is not the JobMarket of this release" in said.err


# --- deploy ---


@pytest.fixture
def deployer(home: Path, chain: Chain) -> str:
    """A wallet with gas; its name."""
    account = Account.create()
    chain.set_balance(account.address, 10**20)  # type: ignore[arg-type]  # a checksummed str
    store(home / "wallets" / "deployer.json", bytes(account.key), PASSWORD, work=4096)
    return account.address


@pytest.fixture
def written(tmp_path: Path, chain: Chain) -> Callable[..., Path]:
    """Writes a deployment file with some fields changed; None leaves one out."""

    def write(top: dict[str, object] | None = None, **market: object) -> Path:
        fields = {"token": chain.deployment.token, "salt": "11" * 32} | (top or {})
        lines = [f"{k} = {json.dumps(v)}" for k, v in fields.items() if v is not None]
        constants = DEV_CONFIG.as_json() | market
        kept = {k: v for k, v in constants.items() if v is not None}
        lines += ["[market]", *(f"{k} = {json.dumps(v)}" for k, v in kept.items())]
        path = tmp_path / "market.toml"
        path.write_text("\n".join(lines))
        return path

    return write


def test_deploy_writesTheBookOfWhatWasPlanned_andCanBeRepeated(
    gradproof: Gradproof,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    deployer: str,
    written: Callable[..., Path],
    chain: Chain,
    tmp_path: Path,
) -> None:
    file, book = written(), tmp_path / "book.json"
    planned = json.loads(gradproof("contracts", "plan", file, "--json").out)
    first = gradproof("contracts", "deploy", file, "--book", book, "--json")
    assert first.code == 0, first
    assert json.loads(first.out)["market"] == planned["JobMarket"]
    assert "created  JobMarket" in first.err
    assert "is here  Flow" in first.err, "libraries are shared with the market that is here already"
    read = Deployment.read(book)
    assert read.market == planned["JobMarket"]
    assert read.vault == planned["StakeVault"]

    sent = chain.web3.eth.get_transaction_count(deployer)  # type: ignore[arg-type]  # a checksummed str
    book.unlink()
    again = gradproof("contracts", "deploy", file, "--book", book)
    assert again.code == 0, again
    assert "is here  JobMarket" in again.err
    assert chain.web3.eth.get_transaction_count(deployer) == sent  # type: ignore[arg-type]  # a checksummed str
    assert chain.web3.eth.get_code(read.market, Deployment.read(book).block)  # type: ignore[arg-type]  # a checksummed str

    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(book))
    assert gradproof("contracts", "verify").code == 0
    assert gradproof("job", "show").code == 0
    other = written({"salt": "22" * 32})
    assert "exists already" in refused("contracts", "deploy", other, "--book", book)


def test_sources_areWhatExplorersAskFor(gradproof: Gradproof, chain: Chain, tmp_path: Path) -> None:
    said = gradproof("contracts", "sources", "--out", tmp_path / "sources", "--json")
    assert said.code == 0, said
    whole = json.loads((tmp_path / "sources" / "standard-input.json").read_text())
    rows = json.loads((tmp_path / "sources" / "contracts.json").read_text())
    assert {row["address"] for row in rows} >= {chain.deployment.market, chain.deployment.vault}
    assert whole["settings"]["libraries"]["src/libraries/Flow.sol"] == {
        "Flow": chain.deployment.libraries["Flow"]
    }
    for row in rows:
        assert row["contract"].split(":")[0] in whole["sources"]


@pytest.mark.parametrize(
    ("top", "market", "named"),
    [
        ({"token": None}, {}, "field token"),
        ({"token": OWNER.lower()}, {}, "field token"),
        ({"salt": "11"}, {}, "field salt"),
        ({"tokens": OWNER}, {}, "field tokens"),
        ({}, {"epoch_blocks": None}, "field market.epoch_blocks"),
        ({}, {"epoch_blocks": "7"}, "field market.epoch_blocks"),
        ({}, {"epoch_blocks": -1}, "field market.epoch_blocks"),
        ({}, {"epochs": 1}, "field market.epochs"),
        ({}, {"beacon": "Dice"}, "field market.beacon"),
        ({}, {"beacon": "PrevrandaoBeacon"}, "BadConfig(name=beaconDelay"),
        ({}, {"beacon_delay": 0}, "BadConfig(name=beaconDelay"),
        ({"token": OWNER}, {}, "NotAToken"),
    ],
)
def test_badDeploymentFile_isNamed_andNothingIsSent(
    refused: Refused,
    deployer: str,
    written: Callable[..., Path],
    chain: Chain,
    tmp_path: Path,
    top: dict[str, object],
    market: dict[str, object],
    named: str,
) -> None:
    file = written(top, **market)
    assert named in refused("contracts", "deploy", file, "--book", tmp_path / "book.json")
    assert not (tmp_path / "book.json").exists()
    beacons = int(
        "beacon" in market and named.startswith("BadConfig")
    )  # asked, so it must be there
    assert chain.web3.eth.get_transaction_count(deployer) == beacons  # type: ignore[arg-type]  # a checksummed str


def test_fileInTheHowTo_isUsable(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md").read_text()
    (tmp_path / "market.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    file = read_deployment_file(tmp_path / "market.toml")
    assert file.config.beacon == BeaconKind.PREVRANDAO
    assert plan_market(file.token, file.config, file.salt).market


def test_missingDeploymentFile_isNamed(refused: Refused, tmp_path: Path) -> None:
    assert "there is no deployment file" in refused("contracts", "plan", tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("token =")
    assert "is not TOML" in refused("contracts", "plan", tmp_path / "bad.toml")


def test_devnetsMarket_isAtItsPlannedPlace(devnet: Devnet) -> None:
    book = Deployment.read(Path(devnet.deployment))
    assert plan_market(book.token, DEV_CONFIG).market == book.market
    assert connect(devnet.rpc_url, None).eth.chain_id == book.chain_id
