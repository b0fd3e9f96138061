"""The contract and the rules judge the same rounds alike: seats, results, and every last unit."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine

from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.chain.market_config import DEV_CONFIG
from protocol.rules.economics import required_escrow
from protocol.rules.records import Address, Windows
from protocol.rules.settlement import settle
from tests.support.rounds import make_terms
from tests.support.table import Table, actor

MOODS = {
    "honest": (100, 0, 0, 0, 0, 0),
    "calm": (90, 3, 1, 1, 2, 3),
    "sloppy": (66, 6, 4, 4, 8, 12),
    "hostile": (40, 30, 10, 5, 10, 5),
    "split": (45, 45, 10, 0, 0, 0),
    "lazy": (55, 0, 0, 5, 15, 25),
}
"""How often actors answer with TRUE, FALSE, OTHER, NONFINITE, without opening, not at all."""
ROUNDS_PER_MOOD = 2


@pytest.fixture
def table(
    chain: Chain, engine: Engine, faucet: LocalAccount, rpc: Callable[..., Any], request: Any
) -> Table:
    """A job of four tasks with everybody in place."""
    indexer = Indexer(chain, engine)
    seated = Table(chain, rpc, indexer.sync, Address(faucet.address), request.param)
    terms = make_terms(
        coordinator=actor("coordinator"),
        checks=2,
        rounds=100,
        max_failed_rounds=200,
        reward=1001,
        fee=1111,
        update_fee=501,
        windows=Windows(*([40] * 11)),
    )
    seated.seat_everybody(DEV_CONFIG.slot_bond)
    seated.post(terms, required_escrow(terms))
    rpc("anvil_mine", hex(DEV_CONFIG.epoch_blocks))
    return seated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "mood"),
    [(seed, mood) for seed, mood in enumerate(MOODS)],
    indirect=["table"],
    ids=list(MOODS),
)
def test_contract_settles_as_the_rules_do(table: Table, mood: str) -> None:
    for _ in range(ROUNDS_PER_MOOD):
        terms, record = table.play_round(MOODS[mood])
        judged = settle(terms, record)
        assert judged.results == record.results
        assert sorted(x.key for x in judged.lines) == sorted(x.key for x in record.lines)
        found = None if judged.update is None else (judged.update.root, judged.update.cid)
        assert found == record.update
        assert judged.is_void == record.is_void
        assert judged.coordinator_removed == record.coordinator_removed
        if mood == "honest":
            assert record.update is not None
