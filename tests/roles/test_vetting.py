"""Vetting: nothing is staked on a job whose manifest was not read, and asking costs no duty."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from protocol.role.job_files import JobFiles, ManifestDiffers
from protocol.role.sight import Sight
from protocol.role.vetting import ASK_SECONDS, AT_ONCE, LONGEST_PAUSE, SHARE, Vetting
from protocol.rules.history import JobHistory
from protocol.rules.records import Address, JobId, Slot, Stage
from protocol.storage.cache import Cache
from protocol.storage.errors import StorageError
from protocol.training.manifest import Manifest
from tests.support.rounds import JOB, address
from tests.support.sights import VERIFIERS, Scene, opening_of, sight_of

ME = address(77)


class Unreachable(JobFiles):
    """Files of which every manifest fails to arrive, with a reason, after some seconds."""

    def __init__(self, folder: Path, error: Exception, cost: float = 0.0) -> None:
        super().__init__(None, Cache(folder, 1))  # type: ignore[arg-type]  # no store is asked
        self.error = error
        self.cost = cost
        self.asked: list[JobId] = []
        self.now = 0.0

    def manifest(self, past: JobHistory, *, timeout: float = 60.0) -> Manifest:  # type: ignore[override]  # a history
        self.asked.append(past.job)
        self.now += min(self.cost, timeout)
        raise self.error

    def clock(self) -> float:
        return self.now


@pytest.fixture
def nowhere(tmp_path: Path) -> Unreachable:
    return Unreachable(tmp_path, StorageError("nobody has it"))


@pytest.fixture
def past() -> JobHistory:
    return Scene().past


def job(number: int) -> JobHistory:
    """Another job, in which nobody has a part yet."""
    return dataclasses.replace(Scene().past, job=JobId(number), roster=[], rounds=[])


def test_manifest_that_does_not_arrive_is_asked_for_ever_more_rarely(
    nowhere: Unreachable, past: JobHistory
) -> None:
    vetting = Vetting(nowhere, clock=nowhere.clock)
    asked_at = []
    for second in range(5000):
        nowhere.now = float(second)
        before = len(nowhere.asked)
        vetting.ask(sight_of(past))
        assert vetting.is_fit(past) is False
        if len(nowhere.asked) > before:
            asked_at.append(second)
    pauses = [b - a for a, b in itertools.pairwise(asked_at)]
    assert pauses[:4] == [2, 4, 8, 16]
    assert max(pauses) == LONGEST_PAUSE


def test_job_that_was_refused_stays_refused(tmp_path: Path, past: JobHistory) -> None:
    files = Unreachable(tmp_path, ManifestDiffers("other work"))
    vetting = Vetting(files)
    for _ in range(5):
        vetting.ask(sight_of(past))
        assert vetting.is_fit(past) is False
    assert len(files.asked) == 1


def test_judging_asks_nobody(nowhere: Unreachable, past: JobHistory) -> None:
    assert Vetting(nowhere).is_fit(past) is None
    assert nowhere.asked == []


@pytest.mark.parametrize("cost", [0.05, 1.0, 27.0])
def test_a_tenth_of_the_time_goes_into_asking_however_many_are_missing(
    cost: float, nowhere: Unreachable
) -> None:
    """A block each second, a hundred jobs whose manifests nobody serves."""
    sight = sight_of(*(job(number) for number in range(100)))
    nowhere.cost = cost
    vetting = Vetting(nowhere, clock=nowhere.clock)
    stalls = []
    while nowhere.now < 3000:
        before = nowhere.now
        vetting.ask(sight)
        stalls.append(nowhere.now - before)
        nowhere.now += 1.0
    most = min(cost, ASK_SECONDS)
    assert max(stalls) <= AT_ONCE / (1 - SHARE) + most
    assert sum(stalls) <= SHARE * nowhere.now + AT_ONCE + most
    assert len(set(nowhere.asked)) == min(100, len(nowhere.asked)), "everybody in turn"


def test_restart_among_missing_manifests_costs_one_attempt(nowhere: Unreachable) -> None:
    nowhere.cost = 27.0
    Vetting(nowhere, clock=nowhere.clock).ask(sight_of(*(job(n) for n in range(100))))
    assert nowhere.now == ASK_SECONDS


def test_what_is_near_is_read_at_once(nowhere: Unreachable) -> None:
    nowhere.cost = 0.01
    Vetting(nowhere, clock=nowhere.clock).ask(sight_of(*(job(n) for n in range(30))))
    assert len(nowhere.asked) == 30


def own_jobs() -> dict[str, Sight]:
    """Job 50 among strangers' jobs, each time with something of this role in it."""
    jobs = [job(number) for number in range(40, 60)]
    worker = sight_of(*jobs)
    worker.jobs[JobId(50)].past.roster = [(Slot(1), ME)]
    coordinator = sight_of(*jobs)
    js = coordinator.jobs[JobId(50)]
    accepted = dataclasses.replace(js.job, coordinator_provider=ME)
    taken = {**coordinator.jobs, JobId(50): dataclasses.replace(js, job=accepted)}
    opening = dataclasses.replace(opening_of(Address(ME), Stage.CHECK, 1), job=JobId(50))
    me = VERIFIERS[0][1]
    drawn = sight_of(*jobs, dataclasses.replace(Scene().past, job=JobId(50)))
    return {
        "its slot": worker,
        "its post": dataclasses.replace(coordinator, jobs=taken),
        "its seal": dataclasses.replace(sight_of(*jobs), openings={opening.key: opening}),
        "a draw": dataclasses.replace(drawn, provider=me),
    }


@pytest.mark.parametrize("part", ["its slot", "its post", "its seal", "a draw"])
def test_own_job_comes_before_those_of_strangers(part: str, nowhere: Unreachable) -> None:
    nowhere.cost = 27.0
    sight = own_jobs()[part]
    vetting = Vetting(nowhere, clock=nowhere.clock)
    vetting.ask(sight)
    assert nowhere.asked == [50]
    for _ in range(1000):
        nowhere.now += 1.0
        vetting.ask(sight)
    turns = [n for n, number in enumerate(nowhere.asked) if number == 50]
    assert len(turns) >= 4, "the pauses grow, and strangers fill them"
    assert JOB not in nowhere.asked
