"""A whole market in which a worker's and a verifier's machines die one after the other.

PostgreSQL, Redis, consumers on "hosts" with homes of their own. In the middle of a task each: a
consumer, the worker itself, the broker, a verifier's consumer are killed. Nothing may be lost,
sealed twice or paid twice. `make fleet` runs it.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from coordinator import devnet as network
from coordinator.cast import Actor, Stage, make_actor, put_up_bonds
from coordinator.report import all_lines
from protocol.chain.client import Chain
from protocol.database.opening import open_database
from protocol.database.tables import ComputationRow
from protocol.role.connection import open_chain
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending, Reason, TaskResult
from protocol.runtime.settings import Settings
from tests.integration.conftest import WINDOWS, Director
from tests.support.brokers import Redis
from tests.support.consumers import ConsumerProcess
from tests.support.postgres import new_database
from tests.support.posting import post_small_job
from tests.support.small_jobs import TRAINING

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif("GRADPROOF_FLEET" not in os.environ, reason="some minutes: make fleet"),
]
BLOCK_SECONDS = 0.5
MARKET = {"checks": TRAINING["tasks"], "min_workers": 3, "windows": WINDOWS}
LEASE_SECONDS = 4


class Fleet(Stage):
    """Roles of which some have machines elsewhere: a database, a broker, consumers on hosts."""

    def __init__(self, root: Path, net: network.Devnet, postgres: str, broker: Redis) -> None:
        super().__init__(root, net)
        self.postgres = postgres
        self.broker = broker
        self.databases: dict[str, Engine] = {}
        self.consumers: list[ConsumerProcess] = []

    def lend(self, actor: Actor) -> None:
        """Give an operator a database and a queue; its roles compute nothing themselves."""
        url = new_database(self.postgres, actor.name.replace("-", "_"))
        self.databases[actor.name] = open_database(url, schema="fleet")

    def environment(self, actor: Actor | None, home: Path) -> dict[str, str]:
        told = super().environment(actor, home)
        if actor is not None and actor.name in self.databases:
            url = self.databases[actor.name].url.set(drivername="postgresql")
            told |= {
                "GRADPROOF_DATABASE": url.render_as_string(hide_password=False),
                "GRADPROOF_BROKER": self.broker.url,
                "GRADPROOF_QUEUE": actor.name,
                "GRADPROOF_LEASE_SECONDS": str(LEASE_SECONDS),
                "GRADPROOF_COMPUTE_HERE": "false",
            }
        return told

    def consumer(self, actor: Actor) -> ConsumerProcess:
        """One more host for an operator: neither its home nor its keys are there."""
        home = self.root / "hosts" / f"{actor.name}-{len(self.consumers)}"
        told = self.environment(actor, home)
        kept = {name: value for name, value in told.items() if name.startswith("GRADPROOF_")}
        kept.pop("GRADPROOF_PASSWORD")
        self.consumers.append(ConsumerProcess(home, kept))
        return self.consumers[-1]

    def is_computing(self, actor: Actor) -> bool:
        """Tell whether one of the operator's consumers is in the middle of something."""
        leased = select(ComputationRow.key).where(ComputationRow.state == "leased").limit(1)
        with Session(self.databases[actor.name]) as session:
            return session.scalar(leased) is not None

    def kill(self, actor: Actor) -> None:
        """SIGKILL to a role."""
        role = next(r for r in self.running if r.name == actor.name)
        role.process.kill()
        role.process.wait(10)
        self.running.remove(role)

    def close(self) -> None:
        """End everything."""
        for consumer in self.consumers:
            consumer.kill()
        self.stop()
        for engine in self.databases.values():
            engine.dispose()


@pytest.fixture(scope="module")
def broker() -> Iterator[Redis]:
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def story(
    postgres: str, broker: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[JobHistory, Fleet, Chain]]:
    """Two workers and three verifiers; one of each computes on hosts that die."""
    root = tmp_path_factory.mktemp("fleet")
    net = network.start(root / "devnet", block_time=BLOCK_SECONDS)
    fleet = Fleet(root, net, postgres, broker)
    try:
        settings = Settings(
            home=root / "requester",
            rpc_url=net.rpc_url,
            ipfs_api=net.ipfs_api,
            deployment=Path(net.deployment),
        )
        chain = open_chain(settings)
        names = ["coordinator", "worker-1", "worker-2", *(f"verifier-{i}" for i in (1, 2, 3))]
        actors = {name: make_actor(root, name) for name in names}
        put_up_bonds(chain, root, list(actors.values()))
        worker, verifier = actors["worker-1"], actors["verifier-1"]
        fleet.lend(worker)
        fleet.lend(verifier)
        # Chance must find the one whose machine will die.
        for name, slots in (("verifier-1", "6"), ("verifier-2", "2"), ("verifier-3", "2")):
            fleet.start(actors[name], "verifier", "run", "--slots", slots)
        job = post_small_job(chain, settings, root, actors["coordinator"], MARKET, rounds=2)
        director = Director(chain, fleet)
        fleet.start(worker, "worker", "run", "--slots", "2")
        fleet.start(actors["worker-2"], "worker", "run", "--slots", "1")
        first = fleet.consumer(worker)  # a job is joined once its task was tried
        director.wait(job, "the workers", lambda p: len(p.roster) == 3)
        fleet.start(actors["coordinator"], "coordinator", "run")

        def computes(actor: Actor) -> None:
            director.wait(job, f"{actor.name} computing", lambda _: fleet.is_computing(actor))

        computes(worker)
        first.kill()
        fleet.consumer(worker)
        computes(worker)
        fleet.kill(worker)
        broker.kill()
        fleet.start(worker, "worker", "run", "--slots", "2")

        third = fleet.consumer(verifier)
        computes(verifier)
        third.kill()
        broker.start()
        fleet.consumer(verifier)
        past = director.wait(job, "the end", lambda p: p.ending != Ending.NONE)
        director.wait(job, "workers gone home", lambda p: not p.roster)
        yield past, fleet, chain
    finally:
        fleet.close()
        network.stop(root / "devnet")


def test_every_task_is_included_and_nobody_loses_anything(
    story: tuple[JobHistory, Fleet, Chain],
) -> None:
    past, _, _ = story
    assert past.ending == Ending.COMPLETED
    assert past.updates == 2
    for round_ in past.rounds:
        assert set(round_.results.values()) == {TaskResult.INCLUDED}
    assert [line for line in all_lines(past) if line.kind != "credit"] == []


def test_every_seat_was_sealed_once_and_paid_once(
    story: tuple[JobHistory, Fleet, Chain],
) -> None:
    past, _, chain = story
    seats = Counter(
        tuple(log["args"][part] for part in ("job", "round", "stage", "question", "seat"))
        for log in chain.market.events.Sealed().get_logs(from_block=0)
    )
    assert len(seats) > 2 * 3 * 2, "work and checks of two rounds"
    assert set(seats.values()) == {1}
    paid = Counter(
        (round_.number, line.question)
        for round_ in past.rounds
        for line in round_.lines
        if line.reason == Reason.TASK_PAID
    )
    assert paid == {(number, task): 1 for number in range(2) for task in range(3)}


def test_nothing_waits_and_nobody_computes_at_the_end(
    story: tuple[JobHistory, Fleet, Chain],
) -> None:
    _, fleet, _ = story
    for engine in fleet.databases.values():
        with Session(engine) as session:
            states = set(session.scalars(select(ComputationRow.state)))
        assert states <= {"done"}


def test_stranger_finds_it_all_consistent(
    story: tuple[JobHistory, Fleet, Chain], tmp_path: Path
) -> None:
    past, fleet, _ = story
    time.sleep(2 * BLOCK_SECONDS)
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli.main", "audit", str(past.job)],
        env=fleet.environment(None, tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONSISTENT" in done.stdout
