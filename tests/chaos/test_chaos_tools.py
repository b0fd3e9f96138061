"""A run of `make chaos` is as good as its tools: the plan repeats, and a cut is a cut."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.chaos.market import ROLES
from tests.chaos.plan import CHAIN, DEEPEST, STORE, Kind, disturbances
from tests.chaos.proxy import Proxy


def test_plan_follows_from_its_seed() -> None:
    first, again = (list(islice(disturbances(7, ROLES), 200)) for _ in range(2))
    assert first == again
    assert first != list(islice(disturbances(8, ROLES), 200))


def test_plan_reaches_everybody_within_bounds() -> None:
    plan = list(islice(disturbances(1, ROLES), 2000))
    assert {d.target for d in plan if d.kind is Kind.KILL} == {*ROLES, STORE}
    assert {d.target for d in plan if d.kind is Kind.PAUSE} == {*ROLES, STORE, CHAIN}
    assert {d.target for d in plan if d.kind is Kind.CUT} == {CHAIN, STORE}
    assert {d.depth for d in plan if d.kind is Kind.REORG} == set(range(1, DEEPEST + 1))
    assert all(1 <= d.seconds <= 20 for d in plan if d.kind is Kind.CUT)


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that says what it hears."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.sendall(client.recv(100))
                client.recv(100)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_cut_breaks_and_refuses_until_it_heals(echo: str) -> None:
    proxy = Proxy(echo)
    address = ("127.0.0.1", int(proxy.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=5) as held:
        held.sendall(b"hello")
        assert held.recv(100) == b"hello"
        proxy.cut()
        with contextlib.suppress(ConnectionResetError):
            assert held.recv(100) == b"", "what was open is broken"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
    proxy.heal()
    with socket.create_connection(address, timeout=5) as fresh:
        fresh.sendall(b"again")
        assert fresh.recv(100) == b"again"
    proxy.cut()
