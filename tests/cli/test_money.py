"""The owner's commands that move money or power, against a real market."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account

from protocol.chain.client import Chain
from protocol.chain.wallet import store
from tests.cli.conftest import PASSWORD
from tests.support.command_line import Gradproof

Refused = Callable[..., str]


@pytest.fixture
def hot(home: Path, chain: Chain) -> str:
    """An operator's wallet with gas and no tokens; its address."""
    account = Account.create()
    chain.set_balance(account.address, 10**18)  # type: ignore[arg-type]  # a checksummed str
    store(home / "wallets" / "hot.json", bytes(account.key), PASSWORD, work=4096)
    return account.address


def test_deposit_isOneTransaction(gradproof: Gradproof, chain: Chain, key: bytes) -> None:
    me = Account.from_key(key).address
    before = chain.web3.eth.get_transaction_count(me)
    assert gradproof("wallet", "deposit", "requester", "2").code == 0
    assert chain.web3.eth.get_transaction_count(me) == before + 1
    assert chain.call(chain.vault, "freeOf", me) == 2 * 10**18
    assert gradproof("wallet", "withdraw", "requester", "2", me).code == 0


def test_signedAuthorisation_fromColdKeyToHotKey(
    gradproof: Gradproof,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    chain: Chain,
    key: bytes,
    hot: str,
    tmp_path: Path,
) -> None:
    me, file = Account.from_key(key).address, tmp_path / "signed.json"
    with monkeypatch.context() as offline:
        offline.setenv("GRADPROOF_RPC_URL", "http://127.0.0.1:9")  # with a nonce, nobody is asked
        said = gradproof(
            "wallet", "sign-authorisation", "requester", hot, "7", "--out", file, "--nonce", "0"
        )
        assert said.code == 0, said
    assert gradproof("wallet", "submit-authorisation", "hot", file).code == 0
    assert chain.call(chain.vault, "operatorOf", me, hot)[0] == 7 * 10**18
    assert "InvalidAccountNonce" in refused("wallet", "submit-authorisation", "hot", file)

    # The chain is asked for the next nonce; what was signed can be cancelled.
    assert gradproof("wallet", "sign-authorisation", "requester", hot, "9", "--out", file).code == 0
    assert json.loads(file.read_text())["nonce"] == 1
    assert gradproof("wallet", "cancel-authorisation", "requester", hot).code == 0
    assert "InvalidAccountNonce" in refused("wallet", "submit-authorisation", "hot", file)
    assert chain.call(chain.vault, "operatorOf", me, hot)[0] == 7 * 10**18


def test_fileOfAnotherMarket_isRefused(
    gradproof: Gradproof, refused: Refused, hot: str, tmp_path: Path
) -> None:
    file = tmp_path / "signed.json"
    arguments = ("requester", hot, "7", "--out", file, "--nonce", "0")
    assert gradproof("wallet", "sign-authorisation", *arguments).code == 0
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chain_id": 1}))
    assert "is for another market" in refused("wallet", "submit-authorisation", "hot", file)
    file.write_text("{}")
    assert "no signed authorisation" in refused("wallet", "submit-authorisation", "hot", file)
