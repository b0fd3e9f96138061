"""A role waits where acting would be in vain: behind a lagging endpoint, and without gas."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from structlog.testing import capture_logs

from protocol.chain.anvil import Anvil
from protocol.chain.deployment import Deployment
from protocol.chain.errors import InsufficientFunds
from protocol.role.actions import Answer
from protocol.role.service import RoleService
from protocol.role.sight import Sight
from protocol.rules.records import Address, JobId, Stage
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store
from tests.support.rpc_proxy import RpcProxy, run_proxy

Rpc = Callable[..., Any]


@pytest.fixture
def proxy(anvil: Anvil, rpc: Rpc) -> Iterator[RpcProxy]:
    with run_proxy(anvil.url) as running:
        yield running


@pytest.fixture
def role(
    proxy: RpcProxy, deployment: Deployment, newcomer: LocalAccount, tmp_path: Path
) -> RoleService:
    """A role that sees the chain through the proxy; it owns nothing and is asked for nothing."""
    deployment.write(tmp_path / "book.json")
    settings = Settings(
        home=tmp_path,
        rpc_url=proxy.url,
        deployment=tmp_path / "book.json",
        poll_seconds=0.01,
        compute_here=False,
    )
    store = open_store(["http://127.0.0.1:9"])  # never asked
    return RoleService(settings, store, newcomer, Address(newcomer.address), tmp_path / "role")


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_role_behind_a_lagging_endpoint_does_not_act_and_says_how_far(
    role: RoleService, proxy: RpcProxy, rpc: Rpc
) -> None:
    seen: list[int] = []

    def decide(sight: Sight) -> list[Any]:
        seen.append(sight.now)
        return []

    rpc("anvil_mine", hex(12))
    with capture_logs() as said:
        loop = threading.Thread(target=role._loop, args=(decide, None))
        loop.start()
        try:
            until(lambda: seen)
            proxy.behind = 10
            until(lambda: any("RPC is 10 blocks behind" in str(line) for line in said))
            before = len(seen)
            rpc("anvil_mine", hex(5))
            asked = len(proxy.asked)
            until(lambda: len(proxy.asked) > asked + 10)
            assert len(seen) == before
            assert "blocks behind" in str(role.watch.pulse.readiness()[1]["trouble"])
            proxy.behind = 0
            until(lambda: len(seen) > before)
        finally:
            role._stopping = True
            loop.join()
    assert sum("blocks behind" in str(line) for line in said) == 1, "said once, not at every look"
    assert not any("refused" in str(line) for line in said)


def test_role_without_gas_says_so_before_it_computes(
    role: RoleService, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[object] = []
    monkeypatch.setattr(role.answerer, "find", lambda *what: computed.append(what))
    round_ = SimpleNamespace(included=0, deadline=9)
    job = SimpleNamespace(past=None, round=round_, open_round=object())
    sight: Any = SimpleNamespace(jobs={1: job})
    task = Answer(JobId(1), 0, Stage.WORK, 0, 0)
    role._act(sight, task)
    assert len(computed) == 1
    rpc("anvil_setBalance", role.sender.address, hex(10**6))
    with pytest.raises(InsufficientFunds, match="wei for gas"):
        role._act(sight, task)
    assert len(computed) == 1


def signals(role: RoleService) -> None:
    """What SIGTERM does."""
    role._stop(15, None)


def test_role_with_nothing_to_finish_ends_at_once(role: RoleService) -> None:
    """No block comes meanwhile; on this chain blocks are made on demand."""
    leaving: list[bool] = []

    def decide(sight: Sight) -> list[Any]:
        leaving.append(sight.leaving)
        return []

    loop = threading.Thread(target=role._loop, args=(decide, None))
    loop.start()
    until(lambda: leaving)
    signals(role)
    loop.join(30)
    assert not loop.is_alive()
    assert leaving == [False], "who is free decides nothing more"


def test_role_that_has_to_finish_says_what_and_a_second_signal_ends_it(role: RoleService) -> None:
    leaving: list[bool] = []
    role.departure.unfinished = lambda _: ["to open 2 seals of job 3, round 5"]

    def decide(sight: Sight) -> list[Any]:
        leaving.append(sight.leaving)
        return []

    signals(role)
    loop = threading.Thread(target=role._loop, args=(decide, None))
    loop.start()
    waits = "leaving: waits to open 2 seals of job 3, round 5"
    until(lambda: role.watch.pulse.readiness()[1]["trouble"] == waits)
    assert loop.is_alive()
    assert leaving == [True]
    signals(role)
    loop.join(30)
    assert not loop.is_alive()


def test_role_whose_chain_is_away_ends_at_the_second_signal(
    role: RoleService, proxy: RpcProxy
) -> None:
    proxy.drop = 10**6
    signals(role)
    loop = threading.Thread(target=role._loop, args=(lambda _: [], None))
    loop.start()
    until(lambda: "does not answer" in str(role.watch.pulse.readiness()[1]["trouble"]))
    assert loop.is_alive(), "it cannot know whether it is free"
    signals(role)
    loop.join(60)
    assert not loop.is_alive()
