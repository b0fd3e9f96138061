"""Sending: once per key, whatever crashes, sticks, is refused or disappears."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine

from protocol.chain.client import Chain
from protocol.chain.errors import (
    ChainDown,
    ContractRejected,
    InsufficientFunds,
    TransactionFailed,
)
from protocol.chain.journal import Tally
from protocol.chain.tx_sender import STUCK_BLOCKS, Call, TxSender
from tests.support.sent import balance, row

Rpc = Callable[..., Any]


def test_transaction_is_sent_once_per_key(
    chain: Chain, sender: TxSender, transfer: Call, newcomer: LocalAccount
) -> None:
    first = sender.send("pay", transfer)
    assert sender.send("pay", transfer) == first
    assert balance(chain, newcomer) == 5
    sender.send("pay again", transfer)
    assert balance(chain, newcomer) == 10


def test_settle_reports_each_key_once(sender: TxSender, transfer: Call) -> None:
    assert sender.state("pay") is None
    sender.submit("pay", transfer)
    assert sender.state("pay") == "sent"
    done = []
    for _ in range(50):
        done += sender.settle()
        if done:
            break
    assert done == ["pay"]
    assert sender.settle() == []
    assert sender.state("pay") == "mined"


def test_tally_is_what_the_database_holds(
    chain: Chain, sender: TxSender, faucet: LocalAccount, engine: Engine, transfer: Call, rpc: Rpc
) -> None:
    """Counted once and kept in step: no tick counts what a year has left."""
    journal = sender.journal
    assert journal.tally().counts == {}
    sender.send("pay", transfer)
    rpc("evm_setAutomine", False)
    before = chain.head()
    for key in ("a", "b"):
        sender.submit(key, transfer)
    assert journal.tally() == Tally({"mined": 1, "sent": 2}, before, 0)
    assert TxSender(chain, faucet, engine).journal.tally() == journal.tally()
    journal.mark("a", "reverted")
    assert journal.tally().reverts == 1
    sender.submit("a", transfer)  # again, under the same key
    rpc("evm_mine")
    assert sorted(sender.settle()) == ["a", "b"]
    assert journal.tally() == Tally({"mined": 3}, None, 1)
    assert TxSender(chain, faucet, engine).journal.tally() == Tally({"mined": 3}, None, 0)


def test_what_is_done_is_not_among_the_states_of_a_prefix(
    sender: TxSender, transfer: Call, rpc: Rpc
) -> None:
    sender.send("open/1/0/a", transfer)
    rpc("evm_setAutomine", False)
    sender.submit("open/1/0/b", transfer)
    sender.submit("open/1/1/c", transfer)
    assert sender.journal.states("open/1/0/") == {"sent"}
    sender.journal.mark("open/1/0/b", "reverted")
    assert sender.journal.states("open/1/0/") == {"reverted"}
    assert sender.journal.states("open/1/2/") == set()


def test_transaction_names_its_chain(sender: TxSender, transfer: Call, engine: Engine) -> None:
    """Signed without a chain id it could be replayed on any other chain."""
    sender.send("pay", transfer)
    assert row(engine, "pay").fields["chainId"] == 31337


def test_nonces_count_on_while_nothing_is_mined(
    chain: Chain, sender: TxSender, transfer: Call, newcomer: LocalAccount, rpc: Rpc, engine: Engine
) -> None:
    rpc("evm_setAutomine", False)
    for key in ("a", "b", "c"):
        sender.submit(key, transfer)
    nonces = [row(engine, key).nonce for key in ("a", "b", "c")]
    assert nonces == list(range(nonces[0], nonces[0] + 3))
    assert sender.settle() == []
    rpc("evm_mine")
    assert sorted(sender.settle()) == ["a", "b", "c"]
    assert balance(chain, newcomer) == 15


def test_row_stored_but_never_sent_goes_out_after_a_restart(
    chain: Chain,
    sender: TxSender,
    faucet: LocalAccount,
    engine: Engine,
    transfer: Call,
    newcomer: LocalAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(_self: TxSender, _raw: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TxSender, "_broadcast", crash)
        with pytest.raises(KeyboardInterrupt):
            sender.submit("pay", transfer)
    assert sender.state("pay") == "sent"
    assert balance(chain, newcomer) == 0
    again = TxSender(chain, faucet, engine)
    again.send("pay", transfer)
    assert balance(chain, newcomer) == 5


def test_restart_does_not_mind_what_the_node_has_already(
    chain: Chain,
    sender: TxSender,
    faucet: LocalAccount,
    engine: Engine,
    transfer: Call,
    newcomer: LocalAccount,
    rpc: Rpc,
) -> None:
    rpc("evm_setAutomine", False)
    sender.submit("pay", transfer)
    waiting = TxSender(chain, faucet, engine)  # the pool knows it
    rpc("evm_mine")
    mined = TxSender(chain, faucet, engine)  # its nonce is used
    assert mined.settle() == ["pay"]
    assert waiting.state("pay") == "mined"
    assert balance(chain, newcomer) == 5


def test_stuck_transaction_is_sent_again_with_higher_fees(
    chain: Chain, sender: TxSender, transfer: Call, newcomer: LocalAccount, rpc: Rpc, engine: Engine
) -> None:
    rpc("evm_setAutomine", False)
    sender.submit("pay", transfer)
    before = row(engine, "pay")
    rpc("anvil_dropTransaction", before.hashes[0])
    rpc("anvil_mine", hex(STUCK_BLOCKS - 1))
    sender.settle()
    assert row(engine, "pay").hashes == before.hashes
    rpc("anvil_dropTransaction", before.hashes[0])
    rpc("evm_mine")
    sender.settle()
    after = row(engine, "pay")
    assert after.nonce == before.nonce
    assert len(after.hashes) == 2
    assert sender.journal.tally().oldest == before.sent_block < after.sent_block
    for name in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert after.fields[name] * 100 >= before.fields[name] * 115
    rpc("evm_mine")
    assert sender.settle() == ["pay"]
    assert sender.wait("pay") == after.hashes[-1]
    assert balance(chain, newcomer) == 5


def test_transaction_whose_nonce_is_lost_may_be_sent_anew(
    chain: Chain,
    sender: TxSender,
    transfer: Call,
    faucet: LocalAccount,
    newcomer: LocalAccount,
    rpc: Rpc,
    engine: Engine,
) -> None:
    """Somebody used the same key elsewhere: without this the duty would be lost for ever."""
    rpc("evm_setAutomine", False)
    sender.submit("pay", transfer)
    lost = row(engine, "pay")
    rpc("anvil_dropTransaction", lost.hashes[0])
    other = {k: v for k, v in lost.fields.items() if k != "function"}
    other |= {"to": newcomer.address, "data": "0x", "value": 1}
    chain.web3.eth.send_raw_transaction(faucet.sign_transaction(other).raw_transaction)
    rpc("anvil_mine", hex(STUCK_BLOCKS))
    sender.settle()
    assert sender.state("pay") == "reverted"
    rpc("evm_setAutomine", True)
    sender.send("pay", transfer)
    assert balance(chain, newcomer) == 5


def test_refused_call_is_not_sent(
    chain: Chain, sender: TxSender, newcomer: LocalAccount, engine: Engine
) -> None:
    nonce = chain.web3.eth.get_transaction_count(sender.address)
    too_much = Call(chain.token, "transfer", (newcomer.address, 10**30))
    with pytest.raises(ContractRejected) as caught:
        sender.submit("pay", too_much)
    assert caught.value.values["needed"] == 10**30
    assert sender.state("pay") is None
    assert chain.web3.eth.get_transaction_count(sender.address) == nonce


def test_reverted_transaction_is_reported_and_may_be_tried_again(
    chain: Chain, sender: TxSender, newcomer: LocalAccount, engine: Engine, rpc: Rpc
) -> None:
    poor = TxSender(chain, newcomer, engine)
    sender.send("approve", Call(chain.token, "approve", (newcomer.address, 5)))
    rpc("evm_setAutomine", False)
    take = Call(chain.token, "transferFrom", (sender.address, newcomer.address, 5))
    poor.submit("take", take)
    # A dearer transaction that takes the allowance away is mined first.
    stop = Call(chain.token, "approve", (newcomer.address, 0))
    bound = chain.token.functions.approve(*stop.args)
    fees = {"gas": 100_000, "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**11}
    nonce = chain.web3.eth.get_transaction_count(sender.address)
    base = {"from": sender.address, "nonce": nonce, "chainId": 31337}
    raw = sender.account.sign_transaction(bound.build_transaction({**base, **fees}))
    chain.web3.eth.send_raw_transaction(raw.raw_transaction)
    rpc("evm_mine")
    with pytest.raises(TransactionFailed, match="reverted"):
        poor.wait("take")
    rpc("evm_setAutomine", True)
    sender.send("approve again", Call(chain.token, "approve", (newcomer.address, 5)))
    poor.send("take", take)
    assert balance(chain, newcomer) == 5
    assert row(engine, "take").attempt == 2


def test_missing_gas_money_is_said(
    chain: Chain, engine: Engine, newcomer: LocalAccount, rpc: Rpc
) -> None:
    rpc("anvil_setBalance", newcomer.address, "0x10")
    poor = TxSender(chain, newcomer, engine)
    with pytest.raises(InsufficientFunds, match="wei for gas"):
        poor.submit("approve", Call(chain.token, "approve", (chain.deployment.vault, 5)))
    assert poor.state("approve") is None


def test_transaction_that_a_reorganisation_dropped_goes_out_again(
    chain: Chain, sender: TxSender, transfer: Call, newcomer: LocalAccount, rpc: Rpc
) -> None:
    before = rpc("evm_snapshot")
    sender.send("pay", transfer)
    assert rpc("evm_revert", before)
    assert balance(chain, newcomer) == 0
    sender.submit("pay", transfer)
    sender.wait("pay")
    assert balance(chain, newcomer) == 5


def dies_after(patch: pytest.MonkeyPatch, requests_allowed: int) -> None:
    """The endpoint answers so many requests, then no more."""
    left = [requests_allowed]
    real = requests.Session.send

    def send(self: requests.Session, request: Any, **fields: Any) -> requests.Response:
        if left[0] == 0:
            raise requests.ConnectionError
        left[0] -= 1
        return real(self, request, **fields)

    patch.setattr(requests.Session, "send", send)


def test_endpoint_that_dies_at_any_step_is_an_error_of_ours(
    chain: Chain, sender: TxSender, transfer: Call, monkeypatch: pytest.MonkeyPatch, rpc: Rpc
) -> None:
    """A role's loop gives up a tick on ChainError; anything else would end the process."""
    monkeypatch.setattr(chain, "_sleep", lambda _: None)
    rpc("evm_setAutomine", False)
    for allowed in range(20):
        with monkeypatch.context() as patch:
            dies_after(patch, allowed)
            try:
                sender.submit("pay", transfer)
            except ChainDown:
                continue
            break
    assert allowed >= 5, "call, block, nonce, estimate, balance each died once"
    for allowed in range(2):
        with monkeypatch.context() as patch:
            dies_after(patch, allowed)
            with pytest.raises(ChainDown):
                sender.settle()


def test_endpoint_that_dies_while_sending_loses_nothing(
    chain: Chain,
    sender: TxSender,
    faucet: LocalAccount,
    engine: Engine,
    transfer: Call,
    newcomer: LocalAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain, "_sleep", lambda _: None)
    for allowed in range(20):
        with monkeypatch.context() as patch:
            dies_after(patch, allowed)
            try:
                sender.submit("pay", transfer)
            except ChainDown:
                if sender.state("pay") == "sent":
                    break
    assert balance(chain, newcomer) == 0
    TxSender(chain, faucet, engine).send("pay", transfer)
    assert balance(chain, newcomer) == 5
