"""The indexer against a model, on a real chain that reorganises at random, 1 to 20 blocks deep."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from web3 import Web3

from protocol.chain import endpoints as endpoints_module
from protocol.chain import indexer as indexer_module
from protocol.chain.anvil import Anvil
from protocol.chain.client import Chain
from protocol.chain.deployment import Deployment
from protocol.chain.errors import ChainDown, StaleHead
from protocol.chain.indexer import Indexer
from protocol.chain.market_config import DEV_CONFIG
from protocol.database.opening import open_database
from protocol.database.tables import LogRow
from protocol.rules.fold import apply
from protocol.rules.history import MarketHistory
from tests.support.rpc_proxy import RpcProxy, run_proxy

Rpc = Callable[..., Any]
STEPS = 25
DEEPEST = 20


@pytest.fixture
def enrolled(chain: Chain, rpc: Rpc) -> Callable[[], None]:
    """One more event of the market, by an account that anvil signs for."""
    me = Web3.to_checksum_address(rpc("eth_accounts")[0])

    def send(contract: Any, function: str, *args: Any) -> None:
        data = contract.get_function_by_name(function)(*args)._encode_transaction_data()
        sent = rpc("eth_sendTransaction", {"from": me, "to": contract.address, "data": data})
        while rpc("eth_getTransactionReceipt", sent) is None:
            pass  # a busy anvil mines a moment after it has answered

    money = 10_000 * DEV_CONFIG.slot_bond
    send(chain.token, "approve", chain.deployment.vault, money)
    send(chain.vault, "deposit", money)
    send(chain.vault, "authorise", me, money)
    return lambda: send(chain.market, "enrol", me, 1)


def model(chain: Chain) -> tuple[MarketHistory, set[tuple[str, str]]]:
    """What the chain says now: everything in one query, folded from nothing."""
    logs = chain.logs(chain.deployment.block, chain.head())
    history = MarketHistory()
    for raw in logs:
        apply(history, chain.decode(raw))
    return history, {(raw["blockHash"], raw["logIndex"]) for raw in logs}


def stored(engine: Engine) -> set[tuple[str, str]]:
    with Session(engine) as session:
        rows = session.scalars(select(LogRow))
        return {("0x" + row.block_hash.hex(), hex(row.log_index)) for row in rows}


class Weather:
    """What may happen to the chain between two looks at it."""

    def __init__(self, rpc: Rpc, enrol: Callable[[], None], source: random.Random) -> None:
        self.rpc = rpc
        self.enrol = enrol
        self.source = source
        rpc("anvil_mine", hex(2 * DEEPEST))
        self.floor = int(rpc("eth_blockNumber"), 16)

    def blow(self) -> None:
        """One random change."""
        kind = self.source.random()
        if kind < 0.35:
            self.enrol()
        elif kind < 0.6:
            self.rpc("anvil_mine", hex(self.source.randrange(1, 6)))
        elif kind < 0.85:
            self.rpc("anvil_reorg", self.source.randrange(1, DEEPEST + 1), [])
        else:
            self._take_another_way()

    def _take_another_way(self) -> None:
        """Fall back to an earlier state, and grow past the old head otherwise."""
        before = self.rpc("evm_snapshot")
        for _ in range(self.source.randrange(1, 4)):
            self.enrol()
        head = int(self.rpc("eth_blockNumber"), 16)
        assert self.rpc("evm_revert", before)
        left = head - int(self.rpc("eth_blockNumber"), 16)
        self.rpc("anvil_mine", hex(left + self.source.randrange(3)))


@pytest.mark.parametrize("seed", range(3))
def test_history_is_the_chains_whatever_was_read_before(
    chain: Chain,
    engine: Engine,
    rpc: Rpc,
    enrolled: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(indexer_module, "SPAN", 7)
    monkeypatch.setattr(indexer_module, "NEAR", 9)  # so that ranges are undone too
    source = random.Random(seed)
    weather = Weather(rpc, enrolled, source)
    indexer = Indexer(chain, engine)
    for _ in range(STEPS):
        weather.blow()
        if source.random() < 0.6:
            indexer.sync()
        if source.random() < 0.15:
            indexer = Indexer(chain, engine)  # killed and started again
    indexer.sync()
    history, logs = model(chain)
    assert indexer.sync() == history
    assert indexer.block == chain.head()
    assert stored(engine) == logs
    replayed = Indexer(chain, open_database(None))  # the database is deleted
    assert replayed.sync() == history


@pytest.fixture
def proxies(anvil: Anvil, rpc: Rpc) -> Iterator[list[RpcProxy]]:
    with run_proxy(anvil.url) as first, run_proxy(anvil.url) as second:
        yield [first, second]


@pytest.mark.parametrize("seed", range(1))
def test_history_is_the_chains_behind_endpoints_that_lag_and_fail(
    chain: Chain,
    deployment: Deployment,
    rpc: Rpc,
    enrolled: Callable[[], None],
    proxies: list[RpcProxy],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Faults come and go with reorganisations; in the end the history is the honest chain's."""
    monkeypatch.setattr(indexer_module, "NEAR", 9)
    source = random.Random(100 + seed)
    weather = Weather(rpc, enrolled, source)
    urls = ",".join(proxy.url for proxy in proxies)
    indexer = Indexer(Chain(urls, deployment, sleep=lambda _: None), open_database(None))
    for _ in range(STEPS):
        weather.blow()
        proxy = source.choice(proxies)
        fault = source.choice(["behind", "drop", "cut", "limit", "limit_by_error", ""])
        if fault:
            setattr(proxy, fault, source.randrange(1, 12))
        with suppress(StaleHead, ChainDown):  # what a role gives a tick up for
            indexer.sync()
        proxy.behind = 0
    for proxy in proxies:
        proxy.drop = proxy.cut = proxy.limit = proxy.limit_by_error = 0
    indexer.sync()
    history, _ = model(chain)
    assert indexer.sync() == history
    assert indexer.block == chain.head()
    indexer.engine.dispose()


@pytest.fixture
def twice(
    proxies: list[RpcProxy], deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Indexer]:
    """A reader behind two endpoints, which has looked at neither's head yet."""
    monkeypatch.setattr(endpoints_module, "LOOK_SECONDS", 1e9)
    urls = ",".join(proxy.url for proxy in proxies)
    indexer = Indexer(Chain(urls, deployment, sleep=lambda _: None), open_database(None))
    yield indexer
    indexer.engine.dispose()


def test_reserve_that_lags_hides_no_logs_of_a_range(
    twice: Indexer,
    chain: Chain,
    rpc: Rpc,
    enrolled: Callable[[], None],
    proxies: list[RpcProxy],
) -> None:
    """It answers with what it has of a range whose last block another one has named."""
    rpc("anvil_mine", hex(100))
    enrolled()
    rpc("anvil_mine", hex(100))
    twice.chain.endpoints._looked = time.monotonic()
    proxies[1].behind = 150

    def fail_next(_params: list[Any], result: Any) -> Any:
        proxies[0].drop = 1
        return result

    proxies[0].alter["eth_getBlockByNumber"] = fail_next
    with pytest.raises(StaleHead, match="It does not have block"):
        twice.sync()
    proxies[0].alter.clear()
    proxies[1].behind = 0
    assert twice.sync() == model(chain)[0]


def test_endpoint_without_a_block_does_not_undo_it(
    twice: Indexer,
    chain: Chain,
    rpc: Rpc,
    enrolled: Callable[[], None],
    proxies: list[RpcProxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rpc("anvil_mine", hex(40))
    enrolled()
    twice.sync()
    twice.chain.endpoints._looked = time.monotonic()
    block, logs = twice.block, stored(twice.engine)
    refolds: list[int] = []
    monkeypatch.setattr(twice, "_refold", lambda: refolds.append(1))
    proxies[1].behind = 30

    def fail_next(params: list[Any], result: Any) -> Any:
        proxies[0].drop = params[0] == "latest"  # the head is seen, what follows is not
        return result

    proxies[0].alter["eth_getBlockByNumber"] = fail_next
    with pytest.raises(StaleHead, match="It does not have block"):
        twice.sync()
    assert (twice.block, stored(twice.engine), refolds) == (block, logs, [])
