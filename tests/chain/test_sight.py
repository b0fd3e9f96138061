"""What a role sees on a real chain: enough to know that a round has to be moved on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine

from coordinator.project import decide
from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.role.actions import Send
from protocol.role.openings import OpeningStore
from protocol.role.sight import PATIENCE, Observer
from protocol.rules.economics import required_escrow
from protocol.rules.records import Address, Ending, Phase, Windows
from tests.support.rounds import make_terms
from tests.support.table import Table, actor

WAITING = 40
Rpc = Callable[..., Any]


@pytest.fixture
def table(chain: Chain, engine: Engine, faucet: LocalAccount, rpc: Rpc) -> Table:
    """A job that waits for a coordinator, workers and verifiers."""
    seated = Table(chain, rpc, Indexer(chain, engine).sync, Address(faucet.address), 1)
    terms = make_terms(coordinator=actor("coordinator"), windows=Windows(*([WAITING] * 11)))
    seated.post(terms, required_escrow(terms))
    return seated


@pytest.fixture
def observer(table: Table, chain: Chain, engine: Engine, tmp_path: Path) -> Observer:
    """The coordinator's eyes."""
    me = actor("coordinator")
    openings = OpeningStore(tmp_path / "openings")
    return Observer(chain, Indexer(chain, engine), openings, me, me, lambda _past: True)


def functions(observer: Observer) -> list[str]:
    return [action.function for action in decide(observer.observe()) if isinstance(action, Send)]


def test_fresh_job_is_to_be_accepted_and_nothing_else(table: Table, observer: Observer) -> None:
    sight = observer.observe()
    assert sight.jobs[table.job].round.phase == Phase.WAITING
    assert not sight.jobs[table.job].advance_due
    assert functions(observer) == ["accept"]


def test_acts_are_judged_by_the_block_they_land_in_however_late_events_are_read(
    table: Table, chain: Chain, engine: Engine, tmp_path: Path, rpc: Rpc
) -> None:
    """Two blocks late, the last quarter of a window of six would come after its end."""
    rpc("anvil_mine", hex(5))
    me = actor("coordinator")
    indexer = Indexer(chain, engine, confirmations=3)
    openings = OpeningStore(tmp_path / "openings")
    sight = Observer(chain, indexer, openings, me, me, lambda _past: True).observe()
    assert sight.now == chain.head() + 1
    assert sight.read == chain.head() - 2


def test_expired_wait_is_moved_on_until_the_job_fails_and_refunds(
    table: Table, observer: Observer, rpc: Rpc
) -> None:
    """Two failed waits end this job; without a call nobody would ever get the escrow back."""
    for _ in range(table.past().terms.max_failed_rounds):
        assert "advance" not in functions(observer)
        rpc("anvil_mine", hex(WAITING))
        assert "advance" in functions(observer)
        table.send(table.bank, "advance", table.job)
    assert table.past().ending == Ending.FAILED
    assert [line.amount for line in table.past().lines] == [table.past().escrow]
    assert observer.observe().jobs == {}


def test_others_move_a_late_round_on_one_after_the_other(
    table: Table, chain: Chain, engine: Engine, rpc: Rpc, tmp_path: Path
) -> None:
    """A coordinator that is gone holds nobody up for longer than everybody's patience."""
    openings = OpeningStore(tmp_path / "others")
    others = [actor(f"bystander {n}") for n in range(8)]
    eyes = [Observer(chain, Indexer(chain, engine), openings, o, o, lambda _: True) for o in others]

    def impatient() -> int:
        return sum(eye.observe().jobs[table.job].advance_due for eye in eyes)

    assert impatient() == 0
    rpc("anvil_mine", hex(WAITING))  # the wait expires
    counts = [impatient()]
    for _ in range(2 * PATIENCE):
        rpc("anvil_mine", "0x1")
        counts.append(impatient())
    assert counts[0] == 0, "the coordinator comes first"
    assert counts[-1] == len(others)
    assert counts == sorted(counts)
    assert len(set(counts)) > 2, "not all at once"
    table.send(table.bank, "advance", table.job)
    assert impatient() == 0
