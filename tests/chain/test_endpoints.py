"""Several endpoints and the faults of each: behind, dropping, limiting, of another chain."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from structlog.testing import capture_logs

from protocol.chain import client as client_module
from protocol.chain import endpoints as endpoints_module
from protocol.chain.anvil import Anvil, free_port
from protocol.chain.client import Chain, connect
from protocol.chain.deployment import Deployment
from protocol.chain.endpoints import TOLERATED, Endpoints, shown
from protocol.chain.errors import ChainDown, StaleHead, WrongChain
from protocol.chain.freshness import fresh_head
from tests.support.rpc_proxy import RpcProxy, run_proxy

Rpc = Callable[..., Any]


@pytest.fixture
def proxies(anvil: Anvil, rpc: Rpc) -> Iterator[list[RpcProxy]]:
    """Two endpoints of one chain."""
    with run_proxy(anvil.url) as first, run_proxy(anvil.url) as second:
        yield [first, second]


@pytest.fixture
def several(
    proxies: list[RpcProxy], deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> Chain:
    """A connection over both, which compares heads at every look."""
    monkeypatch.setattr(endpoints_module, "LOOK_SECONDS", 0.0)
    return Chain(",".join(proxy.url for proxy in proxies), deployment, sleep=lambda _: None)


@pytest.fixture
def single(proxies: list[RpcProxy], deployment: Deployment) -> Chain:
    """A connection over the first."""
    return Chain(proxies[0].url, deployment, sleep=lambda _: None)


@pytest.mark.parametrize("fault", ["drop", "cut", "limit", "limit_by_error"])
def test_endpoint_that_fails_once_is_asked_again(
    single: Chain, proxies: list[RpcProxy], fault: str
) -> None:
    setattr(proxies[0], fault, 2)
    assert single.head() > 0
    assert getattr(proxies[0], fault) == 0


@pytest.mark.parametrize("fault", ["drop", "cut", "limit", "limit_by_error"])
def test_endpoint_that_keeps_failing_is_left_for_the_next(
    several: Chain, proxies: list[RpcProxy], fault: str
) -> None:
    head = several.head()
    setattr(proxies[0], fault, 10**6)
    before = len(proxies[1].asked)
    with capture_logs() as said:
        assert several.header(head) is not None
        assert several.header(head) is not None
    assert len(proxies[1].asked) > before
    assert several.endpoints.name == proxies[1].url
    assert [line["event"] for line in said] == ["using another endpoint"]


@pytest.mark.parametrize("fault", ["drop", "limit"])
def test_endpoints_that_all_fail_are_named(
    several: Chain, proxies: list[RpcProxy], fault: str
) -> None:
    for proxy in proxies:
        setattr(proxy, fault, 10**6)
    with pytest.raises(ChainDown, match=f"{proxies[0].url}.*{proxies[1].url}"):
        several.header(0)


def test_endpoint_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six tries of ten seconds each would be most of a minute in which a role does nothing."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def hang() -> None:
        now[0] += 10.0
        raise requests.ReadTimeout

    with pytest.raises(ChainDown):
        client_module.retrying("url", hang, lambda seconds: None)
    assert now[0] == 30.0


def test_endpoint_of_another_chain_is_refused_even_as_a_reserve(
    proxies: list[RpcProxy], deployment: Deployment
) -> None:
    proxies[1].alter["eth_chainId"] = lambda _params, _result: "0x1"
    chain = Chain(f"{proxies[0].url},{proxies[1].url}", deployment, sleep=lambda _: None)
    proxies[0].drop = 10**6
    with pytest.raises(WrongChain, match="serves chain 1, not chain 31337"):
        chain.header(0)


def test_lagging_endpoint_is_left_for_one_at_the_head(
    several: Chain, proxies: list[RpcProxy], rpc: Rpc
) -> None:
    rpc("anvil_mine", hex(50))
    head = several.head()
    proxies[0].behind = 40
    assert fresh_head(several) == head
    assert several.endpoints.name == proxies[1].url
    proxies[1].behind = TOLERATED  # a little later than the other is no reason to change
    proxies[0].behind = 0
    assert several.head() == head - TOLERATED


def test_stale_head_is_said_in_blocks(
    single: Chain, proxies: list[RpcProxy], rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc("anvil_mine", hex(50))
    assert fresh_head(single) > 0
    proxies[0].behind = 40
    with pytest.raises(StaleHead, match="RPC is 40 blocks behind") as caught:
        fresh_head(single)
    assert caught.value.behind == 40
    proxies[0].behind = 0
    assert fresh_head(single) > 0


def test_best_head_that_nobody_reaches_again_is_forgotten(anvil: Anvil) -> None:
    now = [0.0]
    endpoints = Endpoints(anvil.url, None, clock=lambda: now[0])
    assert endpoints.note(100) == 0
    assert endpoints.note(60) == 40
    now[0] = endpoints_module.FORGET_SECONDS + 1
    assert endpoints.note(60) == 0


def test_old_newest_block_is_stale_where_blocks_come_regularly(
    deployment: Deployment, anvil: Anvil, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One endpoint that got stuck: nothing else tells but the clock."""
    rpc("anvil_mine", hex(30), hex(12))
    chain = Chain(anvil.url, deployment)
    made = chain.newest()[1]
    monkeypatch.setattr(time, "time", lambda: made + 239.0)
    assert fresh_head(chain, oldest=60) > 0  # fewer than twenty are missing
    monkeypatch.setattr(time, "time", lambda: made + 480.0)
    assert fresh_head(chain, oldest=500) > 0
    with pytest.raises(StaleHead, match=r"RPC is 40 blocks behind.*480 s old"):
        fresh_head(chain, oldest=60)


def test_endpoint_that_says_it_is_syncing_is_believed(
    single: Chain, proxies: list[RpcProxy], rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, made = single.newest()
    monkeypatch.setattr(time, "time", lambda: made + 100.0)
    proxies[0].alter["eth_syncing"] = lambda _params, _result: {"highestBlock": hex(head + 40)}
    with pytest.raises(StaleHead, match=r"RPC is 40 blocks behind.*syncing"):
        fresh_head(single, oldest=60)


def test_key_in_an_address_is_not_shown() -> None:
    assert shown("https://user:word@rpc.example:8545/v3/0123abcd") == "https://rpc.example:8545"
    with pytest.raises(ChainDown) as caught:
        connect(f"http://127.0.0.1:{free_port()}/v3/secret", None, sleep=lambda _: None)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
