"""A host in trouble: its consumer pauses and others compute; one that fails gives up no fleet."""

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import torch
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from protocol.database.opening import open_database
from protocol.database.tables import ComputationRow
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.consumer import Consumer, Note, Rehearsal
from protocol.fleet.errors import FleetError, LeaseLost, OutOfMemory
from protocol.fleet.leases import Leases
from protocol.role.computer import on_device
from protocol.rules.records import JobId
from tests.fleet.conftest import computation
from tests.support.consumers import until
from tests.support.rounds import digest

TASKS = 4
LACKS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.EIO, "Input/output error"),
    MemoryError("std::bad_alloc"),
    OutOfMemory("cuda:0", "Tried to allocate 2 GiB."),
]


class Fails:
    """Computes what this error does not concern, and counts how often it was asked to."""

    def __init__(self, error: Exception | None, only: int | None = None) -> None:
        self.error = error
        self.only = only
        self.asked = 0

    def compute(self, wanted: Computation, note: Note) -> Computed:
        self.asked += 1
        if self.error is not None and self.only in (None, wanted.question):
            raise self.error
        return Computed(digest("root"), digest("cid"), digest("witness"))

    def rehearse(self, wanted: Computation) -> Rehearsal:
        raise NotImplementedError

    def forget_all_but(self, jobs: set[tuple[str, JobId]]) -> None:
        """Nothing is open."""


@pytest.fixture
def engine(place: str) -> Iterator[Engine]:
    made = open_database(place)
    yield made
    made.dispose()


@pytest.fixture
def leases(engine: Engine) -> Leases:
    made = Leases(engine, "compute")
    for question in range(TASKS):
        made.ask(computation(question), 50 + question)
    return made


@contextmanager
def running(leases: Leases, computer: Fails, name: str) -> Iterator[None]:
    consumer = Consumer(leases, computer, name, look_seconds=0.01)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        yield
    finally:
        with suppress(LeaseLost):  # what it was at is over already
            consumer.stop()
        thread.join(10)


def rows(engine: Engine) -> list[ComputationRow]:
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(select(ComputationRow)))


@pytest.mark.parametrize("lack", LACKS, ids=repr)
def test_host_that_lacks_something_takes_one_computation_and_pauses(
    lack: Exception, leases: Leases, engine: Engine
) -> None:
    full = Fails(lack)
    with running(leases, full, "full"):
        until(lambda: full.asked > 0, "a claim")
        time.sleep(0.5)
        assert full.asked == 1
    assert [row.state for row in rows(engine)] == ["waiting"] * TASKS
    assert sum(row.errors for row in rows(engine)) == 1
    assert not any(row.vanished for row in rows(engine)), "not the computation's fault"


def test_computation_too_large_for_a_host_leaves_it_time_for_smaller_ones(
    leases: Leases, engine: Engine
) -> None:
    small = Fails(OutOfMemory("cuda:0", "Tried to allocate 2 GiB."), only=0)
    with running(leases, small, "small"):
        until(lambda: sum(row.state == "done" for row in rows(engine)) == TASKS - 1, "others", 30)
    assert sorted(row.state for row in rows(engine)) == ["done"] * (TASKS - 1) + ["waiting"]


def test_others_compute_what_a_full_host_could_not(leases: Leases, engine: Engine) -> None:
    full, well = Fails(OSError(errno.ENOSPC, "No space left on device")), Fails(None)
    with running(leases, full, "full"):
        until(lambda: full.asked > 0, "a claim")
        with running(leases, well, "well"):
            until(lambda: well.asked == TASKS, "the others' answers", 30)
            until(lambda: {row.state for row in rows(engine)} == {"done"}, "an end", 30)
    assert {row.consumer for row in rows(engine)} == {"well"}


def test_defect_ends_no_computation_before_others_had_their_turn(
    leases: Leases, engine: Engine
) -> None:
    broken = Fails(ValueError("no"))
    with running(leases, broken, "broken"):
        until(lambda: broken.asked >= TASKS, "a claim of each")
        time.sleep(0.5)
        assert broken.asked == TASKS
    assert [(row.state, row.vanished) for row in rows(engine)] == [("waiting", 1)] * TASKS


def test_memory_that_the_processor_lacks_has_a_name() -> None:
    with (
        pytest.raises(OutOfMemory, match="device cpu has run out of memory"),
        on_device(torch.device("cpu")),
    ):
        torch.empty(1 << 60)
    with pytest.raises(RuntimeError, match="shape") as caught, on_device(torch.device("cpu")):
        torch.ones(2) @ torch.ones(3, 3)
    assert not isinstance(caught.value, FleetError)
