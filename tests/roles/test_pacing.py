"""What a worker knows of its consumers before it claims: real leases and trials, no consumer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from protocol.database.errors import DatabaseUnavailable
from protocol.database.opening import open_database
from protocol.fleet.backlog import Backlog
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.leases import Leases
from protocol.fleet.trials import Facts, Trials
from protocol.role.answers import describe
from protocol.rules.records import Phase, Stage
from tests.support.rounds import JOB, address, digest
from tests.support.sights import NOW, Scene
from worker import pacing
from worker.claim import Limits
from worker.pace import Debt, Pace
from worker.pacing import Pacing
from worker.survey import first_task

PLACE, QUEUE = "31337/0xA", "compute"
DEADLINE = NOW + 20
FLOOR = 1 << 20


@dataclass
class Fleet:
    """The tables that a worker shares with its consumers, and what it makes of them."""

    leases: Leases
    trials: Trials
    pacing: Pacing
    scene: Scene

    def look(self, limits: Limits = Limits()) -> Pace:  # noqa: B008 -- frozen
        return self.pacing.look(self.scene.look(), limits)

    def task(self, question: int) -> Computation:
        return describe(PLACE, self.scene.past, self.scene.record, question, 0)

    def appear(self, name: str, free: int = FLOOR) -> None:
        self.trials.appear(Facts(name, "cpu", "host", free, free))

    def tried(self, name: str, seconds: float) -> None:
        wanted = first_task(PLACE, self.scene.past)
        self.trials.ask(wanted, [name])
        assert self.trials.begin(name) is not None
        self.trials.finish(name, wanted, seconds, FLOOR)

    def computed(self, name: str, question: int, seconds: float) -> None:
        self.leases.ask(self.task(question), DEADLINE)
        lease = self.leases.claim(name)
        assert lease is not None
        self.leases.finish(lease, Computed(digest("r"), digest("c"), b""), seconds)


class Files:
    """Every manifest is here."""

    def manifest(self, past: Any) -> Any:
        return past


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "leases.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def fleet(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The second half of Commit: this worker has sealed its tasks, another one has not."""
    monkeypatch.setattr(pacing, "task_bytes", lambda _manifest: FLOOR)
    monkeypatch.setattr(pacing, "block_seconds", lambda _chain: 2.0)
    scene = Scene(now=NOW + 10)
    scene.seal(Stage.WORK, 0, provider=address(1999))
    trials = Trials(engine, QUEUE)
    backlog = Backlog(engine, QUEUE)
    made: Any = (None, Files(), trials, backlog, PLACE)
    return Fleet(Leases(engine, QUEUE), trials, Pacing(*made), scene)


def test_nothing_is_known_before_something_was_measured(fleet: Fleet) -> None:
    assert fleet.look() == Pace(2.0, {JOB: {}})
    fleet.appear("a")
    assert fleet.look().speeds == {JOB: {}}
    fleet.tried("a", 1.5)
    assert fleet.look().speeds == {JOB: {"a": 1.5}}


def test_newest_task_says_more_than_the_trial(fleet: Fleet) -> None:
    fleet.appear("a")
    fleet.tried("a", 1.5)
    fleet.computed("a", 0, 4.0)
    fleet.computed("a", 1, 3.0)
    assert fleet.look().speeds == {JOB: {"a": 3.0}}


def test_consumer_that_was_started_again_is_as_slow_as_any(fleet: Fleet) -> None:
    fleet.tried("gone", 1.5)
    fleet.computed("gone as well", 0, 4.0)
    fleet.appear("new")
    assert fleet.look().speeds == {JOB: {"new": 4.0}}


def test_who_cannot_compute_now_does_not_count(fleet: Fleet) -> None:
    fleet.tried("large", 1.5)
    for name in ("large", "busy", "broken"):
        fleet.appear(name)
    fleet.appear("small", FLOOR - 1)
    wanted = first_task(PLACE, fleet.scene.past)
    fleet.trials.ask(wanted, ["busy", "broken"])
    assert fleet.trials.begin("broken") is not None
    fleet.trials.give_up("broken", wanted, "no")
    assert fleet.trials.begin("busy") is not None
    assert fleet.look().speeds == {JOB: {"large": 1.5}}


def test_what_waits_or_is_under_way_is_owed(fleet: Fleet) -> None:
    fleet.appear("a")
    fleet.tried("a", 1.5)
    fleet.computed("a", 0, 2.0)
    for question in (1, 2):
        fleet.leases.ask(fleet.task(question), DEADLINE)
    assert fleet.leases.claim("a") is not None
    update = replace(fleet.task(fleet.scene.terms.update_question), round=7)
    fleet.leases.ask(update, DEADLINE + 1)
    fleet.leases.ask(replace(fleet.task(3), market="1/elsewhere"), DEADLINE + 2)
    found = fleet.look()
    task = Debt(DEADLINE, {"a": 2.0})
    assert found.owed == {
        (JOB, 0, 1): task,
        (JOB, 0, 2): task,
        (JOB, 7, update.question): Debt(DEADLINE + 1, {}),
    }
    assert found.elsewhere == (Debt(DEADLINE + 2, {}),)


def test_nothing_is_looked_at_where_nothing_may_be_claimed(fleet: Fleet) -> None:
    fleet.appear("a")
    fleet.tried("a", 1.5)
    assert fleet.look(Limits(claims=False)) == Pace()
    fleet.scene.phase = Phase.REVEAL
    assert fleet.look() == Pace()


def test_fleet_that_is_away_costs_claims_and_nothing_else(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> set[str]:
        raise DatabaseUnavailable("postgresql://db", "refused")

    monkeypatch.setattr(fleet.pacing.backlog, "trying", away)
    assert fleet.look() == Pace()
