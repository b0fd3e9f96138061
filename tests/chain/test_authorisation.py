"""Signed authorisations against the real vault: whoever sends them, once, here, in time."""

import dataclasses
import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine

from protocol.chain.authorisation import Authorisation, BadAuthorisation, sign_authorisation
from protocol.chain.client import Call, Chain
from protocol.chain.errors import ContractRejected
from protocol.chain.tx_sender import TxSender
from protocol.rules.records import Address

HOUR = 3600
LIMIT = 77


@pytest.fixture
def owner() -> LocalAccount:
    """A cold key: it never has gas."""
    return Account.create()


@pytest.fixture
def signed(chain: Chain, owner: LocalAccount, newcomer: LocalAccount) -> Authorisation:
    """The owner's word for the newcomer's key."""
    now = chain.web3.eth.get_block("latest")["timestamp"]
    return sign_authorisation(
        owner,
        chain.deployment,
        Address(newcomer.address),
        limit=LIMIT,
        nonce=0,
        deadline=now + HOUR,
    )


@pytest.fixture
def hot(chain: Chain, newcomer: LocalAccount, engine: Engine) -> TxSender:
    """The operator's own writer."""
    return TxSender(chain, newcomer, engine)


def submit(chain: Chain, hot: TxSender, a: Authorisation, key: str = "authorise") -> None:
    hot.send(key, Call(chain.vault, "authoriseBySignature", a.args))


def limit_of(chain: Chain, a: Authorisation) -> int:
    limit: int = chain.call(chain.vault, "operatorOf", a.provider, a.operator)[0]
    return limit


def test_hot_key_submits_its_own_authorisation(
    chain: Chain, hot: TxSender, signed: Authorisation
) -> None:
    submit(chain, hot, signed)
    assert limit_of(chain, signed) == LIMIT
    with pytest.raises(ContractRejected) as caught:
        submit(chain, hot, signed, "again")
    assert caught.value.error == "InvalidAccountNonce"
    assert caught.value.values["account"] == signed.provider.lower()


@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", 78), ("provider", "0x" + "11" * 20), ("signature", bytes(65)), ("deadline", 2**40)],
)
def test_changed_authorisation_is_refused(
    chain: Chain, hot: TxSender, signed: Authorisation, field: str, value: object
) -> None:
    with pytest.raises(ContractRejected) as caught:
        submit(chain, hot, dataclasses.replace(signed, **{field: value}))  # type: ignore[arg-type]  # one field at a time
    assert caught.value.error == "BadSignature"


def test_authorisation_for_another_chain_or_vault_is_refused(
    chain: Chain, hot: TxSender, owner: LocalAccount, signed: Authorisation
) -> None:
    book = chain.deployment
    for other in (
        dataclasses.replace(book, chain_id=1),
        dataclasses.replace(book, vault=book.market),
    ):
        foreign = sign_authorisation(
            owner, other, signed.operator, limit=LIMIT, nonce=0, deadline=signed.deadline
        )
        with pytest.raises(ContractRejected, match="BadSignature"):
            submit(chain, hot, foreign)


def test_late_authorisation_is_refused_with_both_times(
    chain: Chain, hot: TxSender, signed: Authorisation, rpc
) -> None:  # type: ignore[no-untyped-def]  # the fixture's type lives in conftest
    rpc("evm_setNextBlockTimestamp", hex(signed.deadline + 5))
    rpc("evm_mine")
    with pytest.raises(ContractRejected) as caught:
        submit(chain, hot, signed)
    assert caught.value.error == "AuthorisationExpired"
    assert caught.value.values["deadline"] == signed.deadline
    assert caught.value.values["time"] > signed.deadline


def test_cancelled_authorisation_is_refused(
    chain: Chain, hot: TxSender, owner: LocalAccount, signed: Authorisation, rpc, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]  # the fixture's type lives in conftest
    rpc("anvil_setBalance", owner.address, hex(10**18))
    cold = TxSender(chain, owner, hot.journal.engine)
    cold.send("cancel", Call(chain.vault, "cancelAuthorisation", (signed.operator,)))
    with pytest.raises(ContractRejected, match="InvalidAccountNonce"):
        submit(chain, hot, signed)
    assert limit_of(chain, signed) == 0


def test_file_survives_a_round_trip(chain: Chain, signed: Authorisation, tmp_path: Path) -> None:
    signed.write(tmp_path / "a.json")
    assert Authorisation.read(tmp_path / "a.json", chain.deployment) == signed


def test_file_that_is_none_or_for_another_market_is_said(
    chain: Chain, signed: Authorisation, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    signed.write(path)
    good = json.loads(path.read_text())
    for change in (
        {"operator": signed.operator.lower()},
        {"limit": "77"},
        {"nonce": -1},
        {"signature": "0xzz"},
        {"signature": 5},
        {"more": 1},
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(BadAuthorisation, match="no signed authorisation"):
            Authorisation.read(path, chain.deployment)
    for text in ("", "[]", "5"):
        path.write_text(text)
        with pytest.raises(BadAuthorisation, match="no signed authorisation"):
            Authorisation.read(path, chain.deployment)
    for elsewhere in ({"chain_id": 1}, {"vault": chain.deployment.market}):
        path.write_text(json.dumps(good | elsewhere))
        with pytest.raises(BadAuthorisation, match="another market"):
            Authorisation.read(path, chain.deployment)
