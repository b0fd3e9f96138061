"""Wrong chain, wrong contracts, nobody there: said in sentences, and nothing is left behind."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_account import Account

from coordinator.devnet import Devnet
from protocol.chain import client
from protocol.chain.anvil import DEV_CHAIN_ID, find_anvil, free_port
from tests.support.small_jobs import job_file_text

Refused = Callable[..., str]
READS = [["job", "show"], ["job", "show", "1"], ["audit", "1"], ["wallet", "show", "requester"]]
ROLES = [["worker", "run"], ["verifier", "run"], ["coordinator", "run"]]
OWNER = Account.from_key(b"\x0a" * 32).address


@pytest.fixture
def book(tmp_path: Path, devnet: Devnet, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a changed address book in the environment."""

    def change(**fields: object) -> None:
        known = json.loads(Path(devnet.deployment).read_text())
        path = tmp_path / "book.json"
        path.write_text(json.dumps(known | fields))
        monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(path))

    return change


@pytest.fixture(scope="module")
def other_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A chain that is not ours."""
    port = free_port()
    command = [find_anvil(), "--port", str(port), "--chain-id", "5", "--silent"]
    with (tmp_path_factory.mktemp("other") / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("command", READS + ROLES)
def test_chainIdOfAnotherChain_isRefused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("GRADPROOF_CHAIN_ID", "1")
    monkeypatch.setenv("GRADPROOF_PROVIDER", OWNER)
    said = refused(*command)
    assert "serves chain 31337, not chain 1" in said
    assert "GRADPROOF_CHAIN_ID" in said


def test_rpcOfAnotherChain_isRefused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, other_chain: str
) -> None:
    monkeypatch.setenv("GRADPROOF_RPC_URL", other_chain)
    assert "serves chain 5, not chain 31337" in refused("job", "show")


@pytest.mark.parametrize("value", ["one", "-"])
def test_settingOfTheWrongType_isNamed(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GRADPROOF_CHAIN_ID", value)
    assert "GRADPROOF_CHAIN_ID is not usable" in refused("job", "show")


def test_rpcDown_isTriedAgainAndSaidOnce(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.02)
    monkeypatch.setenv("GRADPROOF_RPC_URL", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    said = refused("job", "show")
    assert time.monotonic() - began > 0.02 * 31, "it waited five times, twice as long each time"
    assert said.count("trying again") == 1
    assert "does not answer" in said
    assert "gradproof devnet up" in said


# --- address book ---


def test_missingBook_isNamed(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", "/nowhere/book.json")
    assert "no address book at /nowhere/book.json" in refused("job", "show")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"market": 1}'])
def test_garbageForABook_isRefused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "book.json").write_bytes(content)
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(tmp_path / "book.json"))
    assert "is no address book" in refused("job", "show")


def test_folderForABook_isRefused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRADPROOF_DEPLOYMENT", str(tmp_path))
    assert "is no address book" in refused("job", "show")


def test_bookWithoutANumber_isRefused(refused: Refused, book: Callable[..., None]) -> None:
    book(chain_id="31337")
    assert "names no number as chain_id" in refused("job", "show")


def test_swappedVaultAndMarket_areNotOurs(
    refused: Refused, book: Callable[..., None], devnet: Devnet
) -> None:
    known = json.loads(Path(devnet.deployment).read_text())
    book(market=known["vault"], vault=known["market"])
    said = refused("job", "show")
    assert f"the code at {known['vault']} is not the JobMarket of this release" in said
    assert "do not send money" in said


def test_addressWithoutCode_isNotOurs(refused: Refused, book: Callable[..., None]) -> None:
    book(market=OWNER)
    assert "There is no contract at this address" in refused("job", "show")


def test_addressWithoutChecksum_isRefused(refused: Refused, book: Callable[..., None]) -> None:
    book(vault=OWNER.lower())
    assert "not a checksummed address" in refused("job", "show")


# --- keys ---


@pytest.mark.parametrize("command", ROLES)
def test_wrongPassword_isRefused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("GRADPROOF_PASSWORD", "not this one")
    monkeypatch.setenv("GRADPROOF_PROVIDER", OWNER)
    assert "the password does not open" in refused(*command)


def test_wrongPassword_postsNothing(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, untouched: None
) -> None:
    monkeypatch.setenv("GRADPROOF_PASSWORD", "not this one")
    (tmp_path / "job.toml").write_text(job_file_text(OWNER))
    assert "the password does not open" in refused("job", "post", tmp_path / "job.toml")


@pytest.mark.parametrize("command", [["wallet", "show", "nobody"], ["worker", "run"]])
def test_missingWallet_saysHowToMakeOne(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("GRADPROOF_OPERATOR", "nobody")
    assert "gradproof wallet new nobody" in refused(*command)


def test_existingWallet_isNeverOverwritten(refused: Refused, home: Path, key: bytes) -> None:
    before = (home / "wallets" / "requester.json").read_bytes()
    assert "exists already" in refused("wallet", "new", "requester")
    (home / "key").write_text(key.hex())
    assert "exists already" in refused("wallet", "import", "requester", home / "key")
    assert (home / "wallets" / "requester.json").read_bytes() == before


@pytest.mark.parametrize("content", ["", "zz", "00", "ff" * 32, "00" * 32])
def test_keyFileWithoutAKey_isRefused(refused: Refused, home: Path, content: str) -> None:
    (home / "key").write_text(content)
    refused("wallet", "import", "fresh", home / "key")
    assert not (home / "wallets" / "fresh.json").exists()


@pytest.mark.parametrize("amount", ["-1", "a lot", "1e3", "0.0000000000000000001", "NaN", ""])
def test_amountThatIsNone_isRefused(refused: Refused, untouched: None, amount: str) -> None:
    assert "is no amount of tokens" in refused("wallet", "deposit", "requester", "--", amount)


@pytest.mark.parametrize("to", ["0x00", "me", OWNER.lower()])
def test_addressWithATypingError_isRefused(refused: Refused, untouched: None, to: str) -> None:
    assert "not a checksummed address" in refused("wallet", "withdraw", "requester", "1", to)
    assert "not a checksummed address" in refused("wallet", "collect", "requester", to)
    assert "not a checksummed address" in refused("wallet", "authorise", "requester", to, "1")


def test_moreThanThereIs_isRefused(refused: Refused, untouched: None) -> None:
    assert "are missing" in refused("wallet", "deposit", "requester", "1001")
    assert "InsufficientFree" in refused("wallet", "withdraw", "requester", "1", OWNER)
    assert "NothingToCollect" in refused("wallet", "collect", "requester", OWNER)


# --- roles ---


@pytest.mark.parametrize("provider", ["", "me", OWNER.lower()])
def test_roleWithoutProvider_saysWhatToSet(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setenv("GRADPROOF_PROVIDER", provider)
    assert "GRADPROOF_PROVIDER" in refused("worker", "run")


def test_cheatingOffADevelopmentChain_isRefused(
    refused: Refused, book: Callable[..., None]
) -> None:
    book(chain_id=DEV_CHAIN_ID + 1)
    said = refused("worker", "run", "--dishonest", "zero")
    assert "a worker does not cheat on chain 31338" in said


# --- content store ---


def test_noStoreConfigured_saysHowToStartOne(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, untouched: None
) -> None:
    monkeypatch.setenv("GRADPROOF_IPFS_API", "")
    (tmp_path / "job.toml").write_text(job_file_text(OWNER))
    assert "GRADPROOF_IPFS_API" in refused("job", "post", tmp_path / "job.toml")


def test_storeDown_postsNothing(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, untouched: None
) -> None:
    monkeypatch.setenv("GRADPROOF_IPFS_API", f"http://127.0.0.1:{free_port()}")
    (tmp_path / "job.toml").write_text(job_file_text(OWNER))
    said = refused("job", "post", tmp_path / "job.toml")
    assert "no daemon could take" in said
    assert "GRADPROOF_IPFS_API" in said


# --- jobs that are not there ---


@pytest.mark.parametrize("command", [["show"], ["watch"], ["watch", "--json"], ["stop"]])
def test_unknownJob_isRefused(refused: Refused, untouched: None, command: list[str]) -> None:
    verb, *options = command
    said = refused("job", verb, "99999", *options)
    assert "no job 99999" in said or "NoSuchJob" in said


def test_unknownJob_isNeitherAuditedNorExported(refused: Refused, tmp_path: Path) -> None:
    assert "no job 99999" in refused("audit", "99999")
    assert "no job 99999" in refused("job", "export", "99999", "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()
