"""Sending under faults: kill -9 of real processes, lost replies, lies, gaps, fees, a shared key."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from protocol.chain.anvil import Anvil
from protocol.chain.client import Call, Chain
from protocol.chain.deployment import Deployment
from protocol.chain.errors import (
    ContractRejected,
    StaleHead,
    TransactionReverted,
)
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.database.tables import TransactionRow
from tests.support.rpc_proxy import RpcProxy, run_proxy
from tests.support.sender_process import POINTS
from tests.support.sent import balance, row

Rpc = Callable[..., Any]
Run = Callable[..., "subprocess.Popen[str]"]
AMOUNT = 5


@pytest.fixture
def start(
    anvil: Anvil,
    deployment: Deployment,
    faucet: LocalAccount,
    newcomer: LocalAccount,
    tmp_path: Path,
) -> Run:
    """Start a process that pays the newcomer once, under the key "pay"."""
    deployment.write(tmp_path / "book.json")

    def run(point: str = "none", database: str | None = None, **more: str) -> Any:
        place = database or f"sqlite:///{tmp_path / 'sender.sqlite'}"
        book = str(tmp_path / "book.json")
        words = [anvil.url, book, place, "pay", point, newcomer.address, str(AMOUNT)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.sender_process", *words],
            env={**os.environ, "SENDER_KEY": faucet.key.hex(), **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("point", [point for point in POINTS if point != "none"])
def test_process_killed_at_any_point_pays_once_after_a_restart(
    start: Run, chain: Chain, faucet: LocalAccount, newcomer: LocalAccount, point: str
) -> None:
    nonce = chain.nonce(faucet.address)
    code, _, err = ended(start(point))
    assert code == -signal.SIGKILL, err
    code, _, err = ended(start())
    assert code == 0, err
    assert balance(chain, newcomer) == AMOUNT
    assert chain.nonce(faucet.address) == nonce + 1


def test_second_process_with_the_same_key_is_refused(
    start: Run, chain: Chain, newcomer: LocalAccount, tmp_path: Path
) -> None:
    with start(HOLD="1") as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline().startswith("0x")
        code, out, err = ended(start(database=f"sqlite:///{tmp_path / 'other home.sqlite'}"))
        assert (code, out) == (1, "")
        assert f"KeyInUse: process {first.pid} sends with the key" in err
        first.kill()
    code, _, err = ended(start())  # the key is free the moment its holder is gone
    assert code == 0, err
    assert balance(chain, newcomer) == AMOUNT


@pytest.fixture
def proxy(anvil: Anvil, rpc: Rpc) -> Iterator[RpcProxy]:
    with run_proxy(anvil.url) as running:
        yield running


@pytest.fixture
def through(proxy: RpcProxy, deployment: Deployment, faucet: LocalAccount) -> Iterator[TxSender]:
    """A sender behind the proxy."""
    chain = Chain(proxy.url, deployment, sleep=lambda _: None)
    engine = open_database(None)
    yield TxSender(chain, faucet, engine)
    engine.dispose()


@pytest.mark.parametrize("fault", ["drop", "cut"])
def test_lost_reply_to_a_broadcast_sends_no_second_one(
    through: TxSender,
    proxy: RpcProxy,
    transfer: Call,
    chain: Chain,
    newcomer: LocalAccount,
    fault: str,
) -> None:
    nonce = chain.nonce(through.address)

    def lose(_params: list[Any], result: Any) -> Any:
        setattr(proxy, fault, 1)  # "cut": this very reply; "drop": the next request
        return result

    proxy.alter["eth_sendRawTransaction"] = lose
    through.submit("pay", transfer)
    proxy.alter.clear()
    assert proxy.asked.count("eth_sendRawTransaction") >= 1
    through.wait("pay")
    assert balance(chain, newcomer) == AMOUNT
    assert chain.nonce(through.address) == nonce + 1


def test_revert_carries_the_contracts_error_and_values(
    chain: Chain, sender: TxSender, transfer: Call, rpc: Rpc, engine: Engine, newcomer: LocalAccount
) -> None:
    """It would have gone through when it was tried; when it was mined the money was gone."""
    poor = TxSender(chain, newcomer, engine)
    sender.send("pay", transfer)
    rpc("evm_setAutomine", False)
    back = Call(chain.token, "transfer", (sender.address, AMOUNT))
    poor.submit("first", back)
    taken = row(engine, "first").fields
    with Session(engine) as session, session.begin():  # as if tried at the same moment
        session.execute(delete(TransactionRow).where(TransactionRow.key == "first"))
    fields = {k: v for k, v in taken.items() if k != "function"} | {"nonce": taken["nonce"] + 1}
    poor._store("second", {**fields, "function": "transfer"}, 1)
    rpc("evm_mine")
    rpc("evm_setAutomine", True)
    with pytest.raises(TransactionReverted) as caught:
        poor.wait("second")
    assert caught.value.reason is not None
    assert caught.value.reason.error == "ERC20InsufficientBalance"
    assert caught.value.reason.values["needed"] == AMOUNT
    assert "ERC20InsufficientBalance" in str(caught.value)


@pytest.mark.parametrize("lie", ["status", "block", "made up"])
def test_receipt_that_the_chain_does_not_bear_out_is_not_believed(
    proxy: RpcProxy,
    anvil: Anvil,
    deployment: Deployment,
    faucet: LocalAccount,
    transfer: Call,
    rpc: Rpc,
    lie: str,
) -> None:
    honest = Chain(anvil.url, deployment)
    chain = Chain(f"{proxy.url},{anvil.url}", deployment, sleep=lambda _: None)
    engine = open_database(None)
    sender = TxSender(chain, faucet, engine)
    rpc("evm_setAutomine", False)
    sender.submit("pay", transfer)
    sent = row(engine, "pay").hashes[0]
    if lie != "made up":
        rpc("evm_mine")
    block = (
        "0x" + "ab" * 32
        if lie == "block"
        else "0x" + (honest.header(honest.head()) or (b"",))[0].hex()
    )
    told = {
        "transactionHash": sent,
        "blockNumber": hex(honest.head()),
        "blockHash": block,
        "status": "0x0" if lie == "status" else "0x1",
    }
    proxy.alter["eth_getTransactionReceipt"] = lambda _params, _result: told
    with capture_logs() as said:
        assert sender.settle() == []
    assert sender.state("pay") == "sent"
    assert [line["event"] for line in said] == ["receipt not believed"]
    proxy.alter.clear()
    rpc("evm_mine")
    assert sender.settle() == ["pay"]
    assert sender.state("pay") == "mined"
    engine.dispose()


@pytest.mark.parametrize(
    "words",
    [
        "already known",
        "Known transaction",
        "AlreadyKnown",
        "Nonce too low",
        "OldNonce, Current nonce: 7, nonce of rejected tx: 6",
        "max fee per gas less than block base fee",
        "insufficient funds for gas * price + value",
    ],
)
def test_role_starts_whatever_a_node_says_of_what_is_under_way(
    through: TxSender, proxy: RpcProxy, transfer: Call, faucet: LocalAccount, rpc: Rpc, words: str
) -> None:
    """Killed after the broadcast: only the receipt tells what became of it."""
    rpc("evm_setAutomine", False)
    through.submit("pay", transfer)
    rpc("evm_mine")
    proxy.errors["eth_sendRawTransaction"] = words
    again = TxSender(through.chain, faucet, through.journal.engine)
    assert again.settle() == ["pay"]


def test_endpoint_that_cannot_know_a_receipt_is_no_objection_to_it(
    proxy: RpcProxy,
    anvil: Anvil,
    deployment: Deployment,
    faucet: LocalAccount,
    transfer: Call,
    rpc: Rpc,
) -> None:
    """A second endpoint is stuck: it has no receipt, and never will."""
    chain = Chain(f"{anvil.url},{proxy.url}", deployment, sleep=lambda _: None)
    engine = open_database(None)
    sender = TxSender(chain, faucet, engine)
    rpc("anvil_mine", hex(40))
    proxy.behind = 40
    sender.submit("pay", transfer)
    rpc("evm_mine")
    assert sender.settle() == ["pay"]
    engine.dispose()


def test_refusal_by_an_old_state_is_no_refusal(
    through: TxSender, proxy: RpcProxy, chain: Chain, rpc: Rpc, newcomer: LocalAccount
) -> None:
    """The money is there by now; an endpoint that lags does not know it."""
    poor = TxSender(through.chain, newcomer, through.journal.engine)
    back = Call(chain.token, "transfer", (through.address, AMOUNT))
    with pytest.raises(ContractRejected):
        poor.submit("back", back)
    through.send("pay", Call(chain.token, "transfer", (newcomer.address, AMOUNT)))
    rpc("anvil_mine", hex(6))  # anvil promises the states of its last ten blocks, no more
    through.chain.head()
    proxy.behind = 7
    with pytest.raises(StaleHead, match="RPC is 7 blocks behind"):
        poor.submit("back", back)
    proxy.behind = 0
    poor.send("back", back)
