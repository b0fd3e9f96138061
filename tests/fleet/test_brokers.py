"""Redis and RabbitMQ ring; killed in the middle of a task they cost nothing but time."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from protocol.database.opening import fleet_database
from protocol.fleet.bell import Bell, celery_app
from protocol.fleet.errors import FleetError
from protocol.fleet.leases import Leases
from protocol.runtime.settings import Settings
from protocol.storage.node import NodeProcess
from protocol.training.authoring import Authored
from tests.support.brokers import Broker, RabbitMQ, Redis
from tests.support.consumers import ConsumerProcess, await_answer, computation_of, until

NEVER = 600.0
"""Seconds between a consumer's own looks: only a ring wakes it."""


@pytest.fixture(params=[Redis, RabbitMQ], scope="module")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    server: Broker = request.param()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def settings(tmp_path: Path, node: NodeProcess, broker: Broker) -> Settings:
    return Settings(
        home=tmp_path / "home",
        ipfs_api=node.api_url,
        broker=SecretStr(broker.url),
        look_seconds=NEVER,
    )


@pytest.fixture
def consumer(settings: Settings) -> Iterator[ConsumerProcess]:
    """Ready, and past its first look."""
    told = {
        "GRADPROOF_IPFS_API": settings.ipfs_api,
        "GRADPROOF_BROKER": settings.broker.get_secret_value(),
        "GRADPROOF_LOOK_SECONDS": str(settings.look_seconds),
    }
    process = ConsumerProcess(settings.home, told)
    until(lambda: process.says("consumer ready"), "a consumer")
    time.sleep(1)
    yield process
    process.kill()


def test_ring_wakes_a_consumer(
    authored: Authored, settings: Settings, consumer: ConsumerProcess
) -> None:
    engine = fleet_database(settings)
    leases, wanted = Leases(engine, "compute"), computation_of(authored, 0)
    leases.ask(wanted, 50)
    Bell(settings).ring()
    await_answer(leases, wanted)
    engine.dispose()


def test_broker_killed_in_a_task_costs_nothing_and_is_heard_again(
    authored: Authored, broker: Broker, settings: Settings, consumer: ConsumerProcess
) -> None:
    if isinstance(broker, RabbitMQ) and "GRADPROOF_FLEET" not in os.environ:
        pytest.skip("a minute: make fleet")
    engine = fleet_database(settings)
    leases, bell = Leases(engine, "compute"), Bell(settings)
    first, second, third = (computation_of(authored, task) for task in range(3))
    leases.ask(first, 50)
    bell.ring()
    until(lambda: consumer.says("question=0"), "the first task")
    broker.kill()
    leases.ask(second, 50)
    began = time.monotonic()
    bell.ring()
    assert time.monotonic() - began < 15, "a role does not wait for its broker"
    await_answer(leases, first)
    await_answer(leases, second)  # its ring is lost; who has finished one task looks for the next
    broker.start()
    leases.ask(third, 50)

    def rung() -> bool:
        bell.ring()
        return consumer.says("question=2")

    until(rung, "a ring after the restart")
    await_answer(leases, third)
    engine.dispose()


def test_broker_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="kind sqs"):
        celery_app(Settings(home=tmp_path, broker=SecretStr("sqs://somewhere")))
