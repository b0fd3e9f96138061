"""Trials: each consumer tries once what a role thinks of joining, and says what it took."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from protocol.database.opening import open_database
from protocol.database.tables import ComputationRow
from protocol.fleet.attendance import Attendance
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.consumer import Consumer, Rehearsal
from protocol.fleet.errors import DeviceFailed, FleetError
from protocol.fleet.leases import Leases
from protocol.fleet.memory import forget_peak, free_bytes, peak_bytes, total_bytes
from protocol.fleet.trials import BEGUN, DONE, FAILED, WAITING, Facts, Trials
from protocol.role import computer
from protocol.role.computer import StoreComputer
from protocol.rules.records import JobId
from protocol.storage.node import NodeProcess
from protocol.training.authoring import Authored
from protocol.training.footprint import task_bytes
from protocol.training.manifest import Manifest
from tests.fleet.conftest import MARKET, Clock, computation
from tests.support.consumers import ConsumerProcess, computation_of, until
from tests.support.devices import DEVICES, device_named

SILENT = 20.0
JOB = JobId(1)


@pytest.fixture
def engine(place: str) -> Iterator[Engine]:
    made = open_database(place)
    yield made
    made.dispose()


@pytest.fixture
def trials(engine: Engine, clock: Clock) -> Trials:
    return Trials(engine, "compute", silent_seconds=SILENT, clock=clock)


def facts(name: str) -> Facts:
    return Facts(name, "cpu", "host", 4 << 30, 3 << 30)


def states(trials: Trials) -> dict[str, str]:
    return {trial.consumer: trial.state for trial in trials.of_job(MARKET, JOB)}


def test_consumer_is_there_until_it_is_silent(trials: Trials, clock: Clock) -> None:
    assert trials.consumers() == []
    trials.appear(facts("a"))
    clock.now += SILENT - 1
    trials.appear(replace(facts("b"), free=1 << 30))
    assert trials.consumers() == [facts("a"), replace(facts("b"), free=1 << 30)]
    clock.now += 2
    assert [c.name for c in trials.consumers()] == ["b"]
    trials.vanish("b")
    assert trials.consumers() == []


def test_each_consumer_tries_a_job_once(trials: Trials) -> None:
    trials.ask(computation(), ["a", "b"])
    trials.ask(computation(), ["a"])
    assert trials.begin("a") == computation()
    assert states(trials) == {"a": BEGUN, "b": WAITING}
    assert trials.begin("a") is None
    trials.finish("a", computation(), 1.5, 5 << 30)
    [a, b] = trials.of_job(MARKET, JOB)
    assert (a.state, a.seconds, a.peak) == (DONE, 1.5, 5 << 30), "more than 32 bits of bytes"
    assert b.state == WAITING
    trials.ask(computation(), ["a", "b"])
    assert trials.begin("a") is None, "what is known is not tried again"
    assert trials.jobs() == {(MARKET, JOB)}
    trials.drop(MARKET, JOB)
    assert states(trials) == {}
    assert trials.jobs() == set()


def test_queues_and_jobs_do_not_mix(trials: Trials, engine: Engine) -> None:
    trials.ask(computation(), ["a"])
    trials.ask(computation(job=2), ["a"])
    other = Trials(engine, "other")
    assert other.begin("a") is None
    first, second = trials.begin("a"), trials.begin("a")
    assert (first, second) == (computation(), computation(job=2))
    trials.give_up("a", computation(), "no such file")
    [trial] = trials.of_job(MARKET, JOB)
    assert (trial.state, trial.error) == (FAILED, "no such file")
    assert [t.state for t in trials.of_job(MARKET, JobId(2))] == [BEGUN]


def test_who_ends_well_leaves_no_trial_behind_and_who_crashes_does(trials: Trials) -> None:
    trials.ask(computation(), ["well", "crashed"])
    for name in ("well", "crashed"):
        trials.begin(name)
    trials.vanish("well")
    assert states(trials) == {"crashed": BEGUN}


class Rehearser:
    """Computes nothing; tries what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def rehearse(self, wanted: Computation) -> Rehearsal:
        if self.error is not None:
            raise self.error
        return Rehearsal(2.0, 1 << 20)

    def compute(self, wanted: Computation, note: object) -> Computed:
        assert self.error is not None
        raise self.error

    def forget_all_but(self, jobs: set[tuple[str, JobId]]) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("error", "state"), [(None, DONE), (MemoryError("20 GiB"), FAILED), (OSError(), FAILED)]
)
def test_consumer_tries_and_lives_on(
    trials: Trials, engine: Engine, error: Exception | None, state: str
) -> None:
    attendance = Attendance(trials, "a", "cpu", "host")
    leases = Leases(engine, "compute")
    consumer = Consumer(leases, Rehearser(error), "a", attendance=attendance)
    assert not consumer.try_once(), "nothing was asked"
    trials.ask(computation(), ["a"])
    assert consumer.try_once()
    [trial] = trials.of_job(MARKET, JOB)
    assert trial.state == state
    assert bool(trial.error) == (error is not None)
    assert not consumer.try_once()


def test_consumer_whose_device_failed_ends_after_it_said_so(trials: Trials, engine: Engine) -> None:
    failed = DeviceFailed("cuda:0", "CUDA error: an illegal memory access was encountered")
    leases = Leases(engine, "compute")
    attendance = Attendance(trials, "a", "cpu", "host")
    consumer = Consumer(leases, Rehearser(failed), "a", attendance=attendance)
    trials.ask(computation(), ["a"])
    with pytest.raises(DeviceFailed):
        consumer.run()
    [trial] = trials.of_job(MARKET, JOB)
    assert trial.state == FAILED
    assert "illegal memory access" in trial.error
    leases.ask(computation(), 50)
    with pytest.raises(DeviceFailed):
        consumer.run()
    with Session(engine) as session:
        [row] = session.scalars(select(ComputationRow)).all()
        assert (row.state, row.error) == ("waiting", str(failed)), "the next process computes it"


DEVICE_ERRORS = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "run out of memory"),
    (torch.AcceleratorError("CUDA error: misaligned address"), "has failed"),
]


@pytest.mark.parametrize(("error", "said"), DEVICE_ERRORS)
def test_troubles_of_a_device_have_a_name(
    error: Exception, said: str, authored: Authored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute_task(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(computer, "compute_task", compute_task)
    files: Any = Opened(authored)
    computes = StoreComputer(lambda: files, Path())
    with pytest.raises(FleetError, match=said) as caught:
        computes.rehearse(computation_of(authored, 0))
    assert isinstance(caught.value, DeviceFailed) == (said == "has failed")


class Opened:
    """The files of one job, as far as a rehearsal looks at them before it computes."""

    def __init__(self, authored: Authored) -> None:
        self.authored = authored

    def manifest(self, _wanted: Computation) -> Manifest:
        return self.authored.manifest

    def state(self, *_: object) -> None:
        return None

    def dataset(self, *_: object) -> None:
        return None


@pytest.mark.parametrize("where", DEVICES)
def test_memory_of_a_device_is_plausible(where: str) -> None:
    device = device_named(where)
    forget_peak(device)
    before = peak_bytes(device)
    some = torch.ones(1 << 24, device=device)  # 64 MiB
    assert peak_bytes(device) >= before + (some.nbytes if where == "cuda" else 0)
    assert 0 < free_bytes(device) <= total_bytes(device)
    assert 0 < peak_bytes(device) <= total_bytes(device)


def test_real_consumer_measures_a_real_task_and_publishes_nothing(
    node: NodeProcess, authored: Authored, tmp_path: Path
) -> None:
    told = {"GRADPROOF_IPFS_API": node.api_url, "GRADPROOF_LOOK_SECONDS": "0.2"}
    consumer = ConsumerProcess(tmp_path, told)
    engine = open_database(tmp_path / "fleet" / "leases.sqlite")
    trials = Trials(engine, "compute")
    wanted = computation_of(authored, 0)
    try:
        until(lambda: trials.consumers() != [], "a consumer")
        [there] = trials.consumers()
        assert there.device == "cpu"
        assert 0 < there.free <= there.memory
        trials.ask(wanted, [there.name])

        def done() -> Sequence[object]:
            return [t for t in trials.of_job(wanted.market, wanted.job) if t.state == DONE]

        until(lambda: bool(done()), "a trial")
        [trial] = trials.of_job(wanted.market, wanted.job)
        assert trial.seconds > 0
        assert task_bytes(authored.manifest) < trial.peak < there.memory
        assert not list((tmp_path / "fleet" / "results").glob("*"))
        assert Leases(engine, "compute").answer(wanted.key) is None
        consumer.send(signal.SIGTERM)
        consumer.process.wait(60)
        assert trials.consumers() == []
    finally:
        consumer.kill()
        engine.dispose()
