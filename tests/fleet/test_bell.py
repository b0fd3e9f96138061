"""The bell never ends who rings or listens, and leaves nothing behind that nobody reads."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from protocol.database.opening import fleet_database
from protocol.fleet import bell
from protocol.fleet.bell import RING_SECONDS, Bell, listen
from protocol.fleet.leases import Leases
from protocol.runtime.settings import Settings
from protocol.storage.node import NodeProcess
from protocol.training.authoring import Authored
from tests.support.brokers import ReadOnlyRedis
from tests.support.consumers import ConsumerProcess, await_answer, computation_of, until


class Enough(BaseException):
    """Ends a test of what goes on for ever."""


def messages(home: Path) -> list[Path]:
    return sorted((home / "fleet" / "messages").glob("*.msg"))


@pytest.mark.parametrize("error", [ValueError("no JSON"), KeyError("x"), OSError("away")])
def test_whatever_a_broker_does_the_role_goes_on(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    rung = Bell(Settings(home=tmp_path))
    monkeypatch.setattr(rung._app, "send_task", refuse)
    with capture_logs() as said:
        rung.ring()
    assert type(error).__name__ in said[0]["error"]


@pytest.mark.parametrize(("queue", "left"), [("a", b""), ("b", b"[["), ("c", b"null")])
def test_file_that_a_crash_left_does_not_silence_the_bell(
    queue: str, left: bytes, tmp_path: Path
) -> None:
    control = tmp_path / "fleet" / "control"
    control.mkdir(parents=True)
    (control / f"{queue}.exchange").write_bytes(left)
    with capture_logs() as said:
        Bell(Settings(home=tmp_path, queue=queue)).ring()
    assert said == []
    assert len(messages(tmp_path)) == 1


def test_rings_that_nobody_hears_are_removed_in_time(tmp_path: Path) -> None:
    rung = Bell(Settings(home=tmp_path, compute_here=False))
    for _ in range(3):
        rung.ring()
    old, *young = messages(tmp_path)
    longer_ago = time.time() - RING_SECONDS - 1
    os.utime(old, (longer_ago, longer_ago))
    rung.ring()
    assert old not in messages(tmp_path)
    assert set(young) < set(messages(tmp_path))
    assert len(messages(tmp_path)) == 3


def test_listener_listens_again_after_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[Callable[[], None]] = [_return, _raise(OSError("away")), _raise(SystemExit(1))]
    slept: list[float] = []

    def once(*_: object) -> None:
        if len(slept) == len(ends):
            raise Enough
        ends[len(slept)]()

    monkeypatch.setattr(bell, "_listen_once", once)
    monkeypatch.setattr("protocol.fleet.bell.time.sleep", slept.append)
    with capture_logs() as said, pytest.raises(Enough):
        listen(Settings(home=tmp_path), "me", _return)
    assert slept == [2, 4, 8]
    assert [line["why"] for line in said] == [
        "its worker has ended",
        "OSError: away",
        "SystemExit: 1",
    ]


def _return() -> None:
    """Nothing happens."""


def _raise(error: BaseException) -> Callable[[], None]:
    def end() -> None:
        raise error

    return end


@pytest.fixture
def readonly() -> Iterator[ReadOnlyRedis]:
    server = ReadOnlyRedis()
    yield server
    server.close()


def test_refused_listener_leaves_no_connection_open(
    readonly: ReadOnlyRedis, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, broker=SecretStr(readonly.url))
    for attempt in (1, 2):
        # Celery takes over the signals of a main thread.
        once = threading.Thread(target=bell._listen_once, args=(settings, "me", _return))
        once.start()
        once.join(60)
        assert readonly.refused == attempt
    until(lambda: not readonly.open, "goodbyes", 10)


def test_redis_that_refuses_ends_no_consumer(
    authored: Authored, node: NodeProcess, readonly: ReadOnlyRedis, tmp_path: Path
) -> None:
    told = {
        "GRADPROOF_IPFS_API": node.api_url,
        "GRADPROOF_BROKER": readonly.url,
        "GRADPROOF_LOOK_SECONDS": "0.2",
    }
    consumer = ConsumerProcess(tmp_path, told)
    engine = fleet_database(Settings(home=tmp_path, broker=SecretStr(readonly.url)))
    leases, wanted = Leases(engine, "compute"), computation_of(authored, 0)
    try:
        until(lambda: consumer.says("bell silent; looking without it"), "a refusal")
        before = readonly.refused
        leases.ask(wanted, 50)
        await_answer(leases, wanted)
        until(lambda: readonly.refused > before, "another attempt")
        consumer.send(signal.SIGTERM)
        assert consumer.process.wait(60) == 0
    finally:
        consumer.kill()
        engine.dispose()
