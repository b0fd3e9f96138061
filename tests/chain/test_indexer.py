"""Reading: the same history from any start, and no memory of blocks that are gone."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from protocol.chain import indexer as indexer_module
from protocol.chain.client import Chain
from protocol.chain.endpoints import TOLERATED
from protocol.chain.errors import ChainError, StaleHead
from protocol.chain.indexer import Indexer
from protocol.database.opening import open_database
from protocol.database.tables import BlockRow, LogRow
from protocol.rules.history import MarketHistory

Rpc = Callable[..., Any]
Enrol = Callable[[str], None]


def slots(history: MarketHistory) -> list[int]:
    return [slot for slot, _ in history.verifiers.current]


def logs_stored(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(LogRow)) or 0


def test_events_arrive_in_order_and_once(chain: Chain, engine: Engine, enrol: Enrol) -> None:
    indexer = Indexer(chain, engine)
    assert slots(indexer.sync()) == []
    enrol("one")
    assert slots(indexer.sync()) == [1]
    assert slots(indexer.sync()) == [1]
    enrol("two")
    assert slots(indexer.sync()) == [1, 2]
    assert indexer.block == chain.head()


def test_restart_goes_on_where_it_stopped(chain: Chain, engine: Engine, enrol: Enrol) -> None:
    enrol("one")
    Indexer(chain, engine).sync()
    again = Indexer(chain, engine)
    assert slots(again.history) == [1]
    enrol("two")
    assert slots(again.sync()) == [1, 2]


def test_replay_from_nothing_gives_the_same_history(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc, tmp_path: Path
) -> None:
    indexer = Indexer(chain, engine)
    for key in ("one", "two", "three"):
        enrol(key)
        indexer.sync()
    rpc("anvil_mine", hex(indexer_module.NEAR + 5))
    replayed = Indexer(chain, open_database(tmp_path / "fresh.sqlite"))
    assert replayed.sync() == indexer.sync()
    assert replayed.block == indexer.block


def test_replay_in_spans_gives_the_same_history(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol("one")
    rpc("anvil_mine", hex(9))
    enrol("two")
    rpc("anvil_mine", hex(9))
    whole = Indexer(chain, engine).sync()
    monkeypatch.setattr(indexer_module, "SPAN", 3)
    monkeypatch.setattr(indexer_module, "NEAR", 4)
    assert Indexer(chain, open_database(None)).sync() == whole


def test_confirmations_hold_events_back(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc
) -> None:
    indexer = Indexer(chain, engine, confirmations=3)
    enrol("one")
    assert slots(indexer.sync()) == []
    rpc("anvil_mine", hex(1))
    assert slots(indexer.sync()) == []
    rpc("anvil_mine", hex(1))
    assert slots(indexer.sync()) == [1]
    assert indexer.block == chain.head() - 2


@pytest.mark.parametrize("restart", [False, True])
def test_blocks_that_are_gone_are_forgotten(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc, *, restart: bool
) -> None:
    """The chain falls back to an earlier block and grows another way."""
    indexer = Indexer(chain, engine)
    enrol("one")
    indexer.sync()
    before = rpc("evm_snapshot")
    enrol("two")
    enrol("three")
    assert slots(indexer.sync()) == [1, 2, 3]
    assert rpc("evm_revert", before)
    rpc("anvil_mine", hex(6))
    if restart:
        indexer = Indexer(chain, engine)
    assert slots(indexer.sync()) == [1]
    assert logs_stored(engine) == 1
    assert indexer.sync() == Indexer(chain, open_database(None)).sync()


def test_older_view_of_the_same_chain_changes_nothing(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc
) -> None:
    """An endpoint that lags looks like a chain that became shorter, until its blocks differ."""
    indexer = Indexer(chain, engine)
    enrol("one")
    before = rpc("evm_snapshot")
    enrol("two")
    rpc("anvil_mine", hex(TOLERATED))
    indexer.sync()
    assert rpc("evm_revert", before)
    with pytest.raises(StaleHead, match=rf"RPC is {TOLERATED + 1} blocks behind"):
        indexer.sync()
    rpc("evm_mine")
    assert slots(indexer.sync()) == [1]
    assert indexer.block == chain.head()


def test_reorganisation_of_the_tip_is_followed(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc
) -> None:
    indexer = Indexer(chain, engine)
    enrol("one")
    rpc("anvil_mine", hex(2))
    enrol("two")
    indexer.sync()
    old = chain.header(chain.head())
    rpc("anvil_reorg", 2, [])
    assert chain.header(chain.head()) != old
    assert slots(indexer.sync()) == [1]


def test_fork_at_the_tip_does_not_fold_a_year_again(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer_module, "NEAR", 8)
    indexer = Indexer(chain, engine, remember=2)
    for number in range(6):
        enrol(str(number))
        rpc("anvil_mine", hex(4))
        indexer.sync()
    enrol("last")
    indexer.sync()
    folded: list[object] = []
    decode = chain.decode
    monkeypatch.setattr(chain, "decode", lambda raw: folded.append(raw) or decode(raw))
    rpc("anvil_reorg", 1, [])
    assert slots(indexer.sync()) == [1, 2, 3, 4, 5, 6]
    assert len(folded) <= 3
    rpc("anvil_reorg", 20, [])  # deeper than the newer copy
    deep = indexer.sync()
    assert deep == Indexer(chain, open_database(None), remember=2).sync()
    assert len(slots(deep)) < 6


def test_history_begins_with_the_deployment(chain: Chain, engine: Engine) -> None:
    Indexer(chain, engine).sync()
    with Session(engine) as session:
        assert session.scalar(select(func.min(BlockRow.number))) >= chain.deployment.block


def test_endpoint_that_lags_behind_is_no_endless_loop(
    chain: Chain, engine: Engine, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc("anvil_mine", hex(indexer_module.NEAR + 20))
    monkeypatch.setattr(chain, "header", lambda _number: None)
    indexer = Indexer(chain, engine)
    with pytest.raises(StaleHead, match="It does not have block"):
        indexer.sync()
    assert indexer.block == chain.deployment.block - 1
    monkeypatch.undo()
    indexer.sync()
    assert indexer.block == chain.head()


def test_two_markets_do_not_mix(chain: Chain, engine: Engine, enrol: Enrol) -> None:
    enrol("one")
    later = dataclasses.replace(chain.deployment, block=chain.head() + 1)
    assert slots(Indexer(Chain(chain.url, later), engine).sync()) == []


def test_endpoint_that_refuses_long_answers_is_asked_for_less(
    chain: Chain, engine: Engine, enrol: Enrol, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol("one")
    rpc("anvil_mine", hex(200))
    enrol("two")
    rpc("anvil_mine", hex(indexer_module.NEAR))
    real, asked = chain.logs, []

    def limited(first: int, last: int) -> list[dict[str, Any]]:
        asked.append(last - first + 1)
        if last - first >= 20:
            raise ChainError("query returned more than 10000 results")
        return real(first, last)

    monkeypatch.setattr(chain, "logs", limited)
    assert slots(Indexer(chain, engine).sync()) == [1, 2]
    assert max(asked) > 20
