"""Keystores: encrypted, for their owner only, never overwritten."""

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account

from protocol.chain import wallet
from protocol.chain.anvil import FAUCET_KEY
from protocol.chain.errors import WalletError, WrongPassword


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore of a known key; deriving its password takes a while."""
    path = tmp_path_factory.mktemp("wallets") / "deep" / "owner.json"
    address = wallet.store(path, FAUCET_KEY, "correct horse")
    assert address == Account.from_key(FAUCET_KEY).address
    return path


def test_wallet_opens_with_its_password(stored: Path) -> None:
    assert bytes(wallet.unlock(stored, "correct horse").key) == FAUCET_KEY


def test_wrong_password_is_said(stored: Path) -> None:
    with pytest.raises(WrongPassword, match="does not open"):
        wallet.unlock(stored, "battery staple")


def test_plain_key_is_not_on_disk(stored: Path) -> None:
    content = stored.read_bytes()
    assert FAUCET_KEY not in content
    assert FAUCET_KEY.hex().encode() not in content.lower()
    assert [path.name for path in stored.parent.iterdir()] == ["owner.json"]


def test_wallet_is_for_its_owner_only(stored: Path) -> None:
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600


def test_wallet_is_never_overwritten(stored: Path) -> None:
    before = stored.read_bytes()
    with pytest.raises(WalletError, match="exists already"):
        wallet.store(stored, bytes([7]) * 32, "another")
    assert stored.read_bytes() == before


def test_address_is_read_without_the_password(stored: Path) -> None:
    assert wallet.address_of(stored) == Account.from_key(FAUCET_KEY).address


def test_new_wallets_hold_different_keys(tmp_path: Path) -> None:
    made = {wallet.create(tmp_path / f"{n}.json", "secret") for n in range(2)}
    assert len(made) == 2


def test_empty_password_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="needs a password"):
        wallet.create(tmp_path / "open.json", "")
    assert list(tmp_path.iterdir()) == []


def test_missing_wallet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="gradproof wallet new cold"):
        wallet.unlock(tmp_path / "cold.json", "x")


BROKEN = {
    "empty": "",
    "text": "hello",
    "list": "[]",
    "no address": "{}",
    "no crypto": '{"address": "00"}',
    "no version": '{"address": "00", "crypto": {}}',
    "empty crypto": '{"address": "00", "version": 3, "crypto": {}}',
    "crypto is text": '{"address": "00", "version": 3, "crypto": "?"}',
    "unknown kdf": '{"address": "00", "version": 3, "crypto": {"kdf": "rot13"}}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
def test_broken_keystore_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(WalletError, match="is no keystore"):
        wallet.unlock(path, "x")


def test_damaged_keystore_is_said(tmp_path: Path, stored: Path) -> None:
    fields = json.loads(stored.read_text())
    fields["crypto"]["ciphertext"] = "zz"
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(WalletError, match="is no keystore"):
        wallet.unlock(path, "correct horse")


@pytest.mark.parametrize("text", ['{"address": "xyz"}', '{"address": "00"}'])
def test_address_that_is_none_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(WalletError, match="is no keystore"):
        wallet.address_of(path)
