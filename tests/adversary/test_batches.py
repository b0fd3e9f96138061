"""Somebody spoils a part of what travels together: the rest arrives all the same, and once."""

from pathlib import Path

import pytest
from eth_account import Account

from protocol.chain.client import Chain
from protocol.chain.tx_sender import TxSender
from protocol.chain.views import stored
from protocol.database.opening import open_database
from protocol.role.actions import Send, together
from protocol.role.openings import Opening
from protocol.role.outbox import Outbox
from protocol.rules.records import Phase, Stage
from tests.support.market_play import WORKERS, Play

TASKS = 8


@pytest.fixture
def outbox(play: Play, tmp_path: Path) -> Outbox:
    """The transactions of a key with gas; whoever holds an opening may send it."""
    account = Account.create()
    play.rpc("anvil_setBalance", account.address, hex(10**20))
    # Not the play's own connection: it has seen heads that the end of another test undid.
    chain = Chain(play.chain.url, play.chain.deployment)
    sender = TxSender(chain, account, open_database(tmp_path / "chain.sqlite"))
    return Outbox(sender, lambda _function, _outcome: None)


def to_reveal(play: Play) -> list[Opening]:
    """A round at its Reveal; returns the openings of its work."""
    play.open_round(tasks=TASKS, checks=2)
    play.seal_work()
    play.check()
    return [play.openings[Stage.WORK, task, 0] for task in range(TASKS)]


def batch_of(openings: list[Opening]) -> Send:
    parts = [Send(f"open/{o.question}", "open", (o.job, o.round, (o.shown,))) for o in openings]
    [batch] = together(parts)
    return batch


def opened(play: Play) -> list[int]:
    bitmap = stored(play.chain, play.job)[1].opened_tasks
    return [task for task in range(TASKS) if bitmap >> task & 1]


def settle(outbox: Outbox) -> None:
    """Wait until nothing of this key is under way."""
    for _ in range(200):
        outbox.sender.settle()
        if not outbox.sender.journal.under_way():
            return
    raise AssertionError("transactions without a receipt")


def test_openings_travelInOneTransaction(play: Play, outbox: Outbox) -> None:
    openings = to_reveal(play)
    batch = batch_of(openings[:5])
    outbox.send(batch)
    settle(outbox)
    assert opened(play) == [0, 1, 2, 3, 4]
    assert play.chain.web3.eth.get_transaction_count(outbox.sender.account.address) == 1
    outbox.send(batch)
    assert play.chain.web3.eth.get_transaction_count(outbox.sender.account.address) == 1


def test_partThatSomebodyOpenedFirst_holdsUpNoOther(play: Play, outbox: Outbox) -> None:
    openings = to_reveal(play)
    play.open(Stage.WORK, 1)
    outbox.send(batch_of(openings[:4]))
    settle(outbox)
    assert opened(play) == [0, 1, 2, 3]


def test_batchThatIsOvertaken_failsOnce_andGoesOutPartByPart(play: Play, outbox: Outbox) -> None:
    """An opening is public once it is sent; a stranger with higher fees spoils the whole batch."""
    openings = to_reveal(play)
    play.rpc("evm_setAutomine", False)
    batch = batch_of(openings[:4])
    outbox.send(batch)
    assert outbox.sender.state(batch.key) == "sent"
    data = play.market.functions.open(play.job, 0, [openings[2].shown])._encode_transaction_data()
    fees = {"maxFeePerGas": hex(10**12), "maxPriorityFeePerGas": hex(10**11)}
    thief = {"from": WORKERS[3], "to": play.market.address, "data": data, "gas": hex(10**6)}
    play.rpc("eth_sendTransaction", {**thief, **fees})
    play.rpc("evm_mine")
    play.rpc("evm_setAutomine", True)
    settle(outbox)
    assert outbox.sender.state(batch.key) == "reverted"
    assert opened(play) == [2]
    outbox.send(batch_of([openings[0], openings[1], openings[3]]))
    settle(outbox)
    assert opened(play) == [0, 1, 2, 3]
    assert outbox.sender.state("open/3") == "mined", "a part of its own"


def test_batchWithoutReceipt_isNotSentAgain_inAnotherBatch(play: Play, outbox: Outbox) -> None:
    openings = to_reveal(play)
    play.rpc("evm_setAutomine", False)
    outbox.send(batch_of(openings[:3]))
    longer = batch_of(openings[:4])
    outbox.send(longer)
    assert outbox.sender.state(longer.key) is None
    play.rpc("evm_mine")
    play.rpc("evm_setAutomine", True)
    settle(outbox)
    outbox.send(longer)  # its first three are refused now
    settle(outbox)
    assert opened(play) == [0, 1, 2, 3]


def test_sealOfAForeignTask_holdsUpNoOther(play: Play, outbox: Outbox) -> None:
    play.open_round(tasks=TASKS, checks=2)
    me = WORKERS[0]
    play.send(me, play.vault, "authorise", outbox.sender.address, 10**20)
    slot = play.slot_of(me)
    mine = [task for task in range(TASKS) if play.holder(Stage.WORK, task) == me]
    foreign = next(task for task in range(TASKS) if task not in mine)
    parts = [
        Send(f"seal/{task}", "sealTasks", (play.job, 0, slot, ((task, bytes([9] * 32)),)))
        for task in (foreign, *mine)
    ]
    [batch] = together(parts)
    outbox.send(batch)
    settle(outbox)
    assert play.round.phase == Phase.COMMIT
    assert play.round.sealed_tasks == sum(1 << task for task in mine)
