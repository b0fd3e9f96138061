"""Consumers killed, paused, stopped in the middle of a task: real processes, a real store."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from protocol.database.opening import fleet_database
from protocol.fleet.bell import Bell
from protocol.fleet.computation import Computation
from protocol.fleet.device import is_busy
from protocol.fleet.leases import Leases
from protocol.runtime.settings import Settings
from protocol.storage.cid import Cid
from protocol.storage.node import NodeProcess
from protocol.storage.store import open_store
from protocol.training.authoring import Authored
from tests.support.consumers import (
    ConsumerProcess,
    await_answer,
    computation_of,
    compute_alone,
    row_of,
    until,
)

LEASE_SECONDS = 2.0
Start = Callable[..., ConsumerProcess]


@pytest.fixture
def settings(tmp_path: Path, node: NodeProcess) -> Settings:
    return Settings(
        home=tmp_path / "home",
        ipfs_api=node.api_url,
        cache=tmp_path / "cache",
        lease_seconds=LEASE_SECONDS,
        look_seconds=0.2,
    )


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    opened = fleet_database(settings)
    yield opened
    opened.dispose()


@pytest.fixture
def leases(engine: Engine) -> Leases:
    return Leases(engine, "compute", seconds=LEASE_SECONDS)


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Start consumers; whatever still runs is killed in the end."""
    running: list[ConsumerProcess] = []

    def once(device: str = "cpu") -> ConsumerProcess:
        # Like hosts: who is paused in a fetch holds the lock of a file in its own cache alone.
        told = environment(settings) | {"GRADPROOF_CACHE": str(settings.cache_path / device)}
        running.append(ConsumerProcess(settings.home, told, device))
        return running[-1]

    yield once
    for consumer in running:
        consumer.send(signal.SIGCONT)
        consumer.kill()


def environment(settings: Settings) -> dict[str, str]:
    return {
        "GRADPROOF_IPFS_API": settings.ipfs_api,
        "GRADPROOF_CACHE": str(settings.cache_path),
        "GRADPROOF_LEASE_SECONDS": str(settings.lease_seconds),
        "GRADPROOF_LOOK_SECONDS": str(settings.look_seconds),
    }


def in_the_middle(engine: Engine, wanted: Computation, token: int = 1) -> None:
    """Wait until a task is being computed."""

    def begun() -> bool:
        row = row_of(engine, wanted)
        return row.state == "leased" and row.token == token

    until(begun, "a lease")
    time.sleep(0.1)
    assert begun(), "the task is too short for this test"


def test_killed_consumers_task_is_computed_again_to_the_same_bits(
    authored: Authored,
    engine: Engine,
    leases: Leases,
    start: Start,
    settings: Settings,
    tmp_path: Path,
) -> None:
    wanted = computation_of(authored, 0)
    victim = start("cpu:0")
    leases.ask(wanted, 50)
    in_the_middle(engine, wanted)
    victim.kill()
    start("cpu:1")
    found = await_answer(leases, wanted)
    assert found.computed == compute_alone(authored, 0, tmp_path / "alone")
    row = row_of(engine, wanted)
    assert (row.token, row.vanished) == (2, 1)
    with open_store(settings.apis) as store:
        assert all(store.has(Cid.parse(cid)) for cid in found.cids), "what was noted is published"
    assert Cid.parse(found.cids[0]) == Cid.raw(found.computed.cid)


def test_paused_consumer_is_not_heard_when_it_comes_back(
    authored: Authored, engine: Engine, leases: Leases, start: Start
) -> None:
    wanted = computation_of(authored, 0)
    paused = start("cpu:0")
    leases.ask(wanted, 50)
    in_the_middle(engine, wanted)
    paused.send(signal.SIGSTOP)
    start("cpu:1")
    found = await_answer(leases, wanted)
    paused.send(signal.SIGCONT)
    until(lambda: paused.says("computed for nothing"), "the end of the first attempt")
    assert leases.answer(wanted.key) == found
    assert row_of(engine, wanted).token == 2


def test_stopped_consumer_gives_its_lease_back_at_once(
    authored: Authored, engine: Engine, leases: Leases, start: Start
) -> None:
    for task in range(authored.manifest.tasks):
        wanted = computation_of(authored, task)
        stopped = start("cpu:0")
        leases.ask(wanted, 50)
        in_the_middle(engine, wanted)
        stopped.send(signal.SIGTERM)
        assert stopped.process.wait(30) == 0
        row = row_of(engine, wanted)
        if row.state != "done":  # else it finished while the signal was on its way
            break
    assert (row.state, row.vanished) == ("waiting", 0)


def test_ring_through_files_wakes_a_consumer(
    authored: Authored, leases: Leases, settings: Settings, start: Start
) -> None:
    deaf = settings.model_copy(update={"look_seconds": 600.0})
    crashed = settings.home / "fleet" / "control" / "compute.exchange"
    crashed.parent.mkdir(parents=True)
    crashed.touch()  # what an older release left where a machine lost its power
    consumer = ConsumerProcess(settings.home, environment(deaf))
    try:
        until(lambda: consumer.says("consumer ready"), "a consumer")
        time.sleep(1)  # its first look is over
        leases.ask(computation_of(authored, 0), 50)
        Bell(settings).ring()
        until(lambda: consumer.says("computing"), "a wake-up", 30)
    finally:
        consumer.kill()


def test_device_has_one_consumer(start: Start, settings: Settings) -> None:
    first = start("cpu:0")
    until(lambda: first.says("consumer ready"), "a consumer")
    assert is_busy(settings.home, "cpu:0")
    assert not is_busy(settings.home, "cpu:1")
    second = start("cpu:0")
    assert second.process.wait(60) == 2
    assert second.says("another consumer of this home has the device cpu:0")
    first.kill()
    assert not is_busy(settings.home, "cpu:0")


def test_files_of_a_killed_consumer_go_when_the_device_has_another(
    start: Start, settings: Settings
) -> None:
    results = settings.home / "fleet" / "results"
    left, others = results / "cpu:0" / "tmpabc", results / "cpu:1" / "tmpxyz"
    first = start("cpu:0")
    until(lambda: first.says("consumer ready"), "a consumer")
    for folder in (left, others):
        folder.mkdir(parents=True)
        (folder / "shard").write_bytes(bytes(1000))
    assert start("cpu:0").process.wait(60) == 2
    assert left.exists(), "the device was not free"
    first.kill()
    start("cpu:0")
    until(lambda: not left.exists(), "a free disk")
    assert (others / "shard").exists(), "somebody else's"


ROLE = """
import sys, time
from protocol.fleet.embedded import EmbeddedConsumer
from protocol.runtime.settings import load_settings

with EmbeddedConsumer(load_settings()) as consumer:
    while True:
        consumer.tend()
        time.sleep(0.05)
"""


def test_embedded_consumer_comes_back_and_ends_with_its_role(
    authored: Authored, engine: Engine, leases: Leases, settings: Settings
) -> None:
    told = environment(settings) | {"GRADPROOF_HOME": str(settings.home)}
    wanted = computation_of(authored, 0)
    role = subprocess.Popen([sys.executable, "-c", ROLE], env=os.environ | told)
    try:
        leases.ask(wanted, 50)
        in_the_middle(engine, wanted)
        os.kill(pid_of(engine, wanted), signal.SIGKILL)
        in_the_middle(engine, wanted, token=2)
        role.kill()
        role.wait(10)
        until(lambda: not is_busy(settings.home, "cpu"), "the end of the consumer", 30)
        row = row_of(engine, wanted)
        assert (row.state, row.vanished) == ("waiting", 1), "given back"
    finally:
        role.kill()
        role.wait(10)


def pid_of(engine: Engine, wanted: Computation) -> int:
    """The process that has the lease: consumers are named DEVICE-PID@HOST."""
    return int(row_of(engine, wanted).consumer.split("@")[0].rsplit("-", 1)[1])
