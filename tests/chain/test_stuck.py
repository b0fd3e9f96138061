"""What does not get mined: lost bytes, gaps between nonces, low fees, and too little ether."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from protocol.chain.client import Call, Chain
from protocol.chain.errors import FeeTooHigh, InsufficientFunds
from protocol.chain.fees import GWEI, FeePolicy, Offer
from protocol.chain.tx_sender import RESEND_BLOCKS, STUCK_BLOCKS, TxSender
from protocol.database.tables import TransactionRow
from tests.support.sent import balance, row

Rpc = Callable[..., Any]
AMOUNT = 5


def test_bytes_that_a_node_lost_go_out_again_after_two_blocks(
    sender: TxSender, transfer: Call, rpc: Rpc, engine: Engine
) -> None:
    rpc("evm_setAutomine", False)
    sender.submit("pay", transfer)
    rpc("anvil_dropTransaction", row(engine, "pay").hashes[0])
    rpc("anvil_mine", hex(RESEND_BLOCKS))
    assert sender.settle() == []
    rpc("evm_mine")
    assert sender.settle() == ["pay"]
    assert len(row(engine, "pay").hashes) == 1


def test_what_is_under_way_counts_against_the_balance(
    chain: Chain, engine: Engine, newcomer: LocalAccount, rpc: Rpc
) -> None:
    """A node counts it, and would refuse the second one after it was stored."""
    rpc("evm_setAutomine", False)
    sender = TxSender(chain, newcomer, engine)
    approve = Call(chain.token, "approve", (chain.deployment.vault, 5))
    sender.submit("first", approve)
    fields = row(engine, "first").fields
    rpc("anvil_setBalance", newcomer.address, hex(fields["gas"] * fields["maxFeePerGas"] * 3 // 2))
    with pytest.raises(InsufficientFunds, match="wei for gas"):
        sender.submit("second", approve)
    assert sender.state("second") is None
    rpc("evm_mine")
    sender.settle()
    sender.submit("second", approve)


def test_gap_between_nonces_is_filled(
    chain: Chain, sender: TxSender, transfer: Call, rpc: Rpc, engine: Engine, newcomer: LocalAccount
) -> None:
    """A row was lost with an old copy of the database: what came after it would wait for ever."""
    rpc("evm_setAutomine", False)
    sender.submit("lost", transfer)
    sender.submit("pay", transfer)
    rpc("anvil_dropTransaction", row(engine, "lost").hashes[0])
    with Session(engine) as session, session.begin():
        session.execute(delete(TransactionRow).where(TransactionRow.key == "lost"))
    rpc("anvil_mine", hex(STUCK_BLOCKS))
    assert sender.settle() == []
    rpc("evm_mine")
    assert "pay" in sender.settle()
    assert balance(chain, newcomer) == AMOUNT


def test_low_fee_is_raised_until_the_chain_takes_it(
    chain: Chain, sender: TxSender, transfer: Call, rpc: Rpc, engine: Engine, newcomer: LocalAccount
) -> None:
    """The base fee rises fifty-fold after the offer was made, and nothing mines at that price."""
    rpc("evm_setAutomine", False)
    sender.submit("pay", transfer)
    first = row(engine, "pay").fields["maxFeePerGas"]
    dear = 5 * first
    for _ in range(3):
        for _ in range(STUCK_BLOCKS):
            rpc("anvil_setNextBlockBaseFeePerGas", hex(dear))
            rpc("evm_mine")
        if sender.settle() == ["pay"]:
            break
    assert sender.state("pay") == "mined"
    assert balance(chain, newcomer) == AMOUNT
    stored = row(engine, "pay")
    assert stored.fields["maxFeePerGas"] > dear
    assert sender.wait("pay") in stored.hashes


def test_fees_above_the_cap_are_never_offered(
    chain: Chain, faucet: LocalAccount, transfer: Call, rpc: Rpc, engine: Engine
) -> None:
    policy = FeePolicy(max_cap=40 * GWEI, max_tip=2 * GWEI)
    sender = TxSender(chain, faucet, engine, policy)
    rpc("anvil_setNextBlockBaseFeePerGas", hex(30 * GWEI))
    rpc("evm_mine")
    rpc("evm_setAutomine", False)
    sender.submit("pay", transfer)
    assert row(engine, "pay").fields["maxFeePerGas"] == policy.max_cap  # not twice the base fee
    rpc("anvil_dropTransaction", row(engine, "pay").hashes[0])
    rpc("anvil_mine", hex(STUCK_BLOCKS))
    with capture_logs() as said:
        sender.settle()
    assert "offers all that is allowed" in said[0]["event"]
    assert len(row(engine, "pay").hashes) == 1
    rpc("evm_mine")
    assert sender.settle() == ["pay"], "no node had the bytes any more, and the fee fell again"
    rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
    rpc("evm_mine")
    with pytest.raises(FeeTooHigh, match="40 are allowed"):
        sender.submit("another", transfer)
    assert sender.state("another") is None


def test_raised_offer_replaces_the_old_one_or_is_none(chain: Chain) -> None:
    policy = FeePolicy(max_cap=100 * GWEI, max_tip=10 * GWEI)
    new = policy.raised(Offer(50 * GWEI, 2 * GWEI), chain)
    assert new is not None
    assert new.cap * 100 >= 50 * GWEI * 115
    assert new.tip * 100 >= 2 * GWEI * 115
    assert policy.raised(Offer(90 * GWEI, 2 * GWEI), chain) == Offer(100 * GWEI, new.tip)
    assert policy.raised(Offer(95 * GWEI, 2 * GWEI), chain) is None
    assert policy.raised(Offer(50 * GWEI, 10 * GWEI), chain) is None


def test_gas_for_one_act_is_asked_for_before_the_work(
    chain: Chain, engine: Engine, newcomer: LocalAccount, rpc: Rpc
) -> None:
    sender = TxSender(chain, newcomer, engine)
    sender.require_gas()
    rpc("anvil_setBalance", newcomer.address, hex(10**6))
    with pytest.raises(InsufficientFunds, match="wei for gas"):
        sender.require_gas()
