"""How many slots a worker takes, and every reason for which it takes none."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.fleet.trials import BEGUN, DONE, FAILED, Facts, Trial
from protocol.rules.amounts import UNITS
from protocol.rules.records import JobId, Terms
from tests.support.rounds import JOB, make_terms
from worker.capacity import USABLE, Place, Room, room

MIB = 2**20
FREE = 1000 * MIB


def terms(tasks: int = 8, commit: int = 100, bond: int = UNITS, min_workers: int = 1) -> Terms:
    made = make_terms(tasks=tasks, checks=tasks, bond=bond, min_workers=min_workers)
    return dataclasses.replace(made, windows=dataclasses.replace(made.windows, commit=commit))


def place(others: int = 0, floor: int = MIB, free_bond: int = 100 * UNITS, **more: int) -> Place:
    return Place(terms(**more), others, floor, free_bond)


def consumer(name: str = "a", free: int = FREE) -> Facts:
    return Facts(name, "cpu", "host", 2 * FREE, free)


def trial(name: str = "a", seconds: float = 1.0, peak: int = MIB, state: str = DONE) -> Trial:
    return Trial(name, "market", JobId(JOB), state, seconds, peak, "no such file")


def test_alone_it_takes_every_task_that_fits() -> None:
    assert room(place(), [consumer()], [trial()], 1.0) == Room(8)
    assert room(place(), [consumer()], [trial()], 1.0, most=3) == Room(3)


def test_slow_machine_takes_the_first_slot_alone() -> None:
    """75 s of 100 are for computing: 7 tasks of 10 s, and a slot alone is due all 8."""
    assert room(place(), [consumer()], [trial(seconds=10.0)], 1.0) == Room(1)
    two = [consumer("a"), consumer("b")]
    both = [trial("a", 10.0), trial("b", 10.0)]
    assert room(place(), two, both, 1.0) == Room(8)


def test_others_leave_fewer_tasks_and_fewer_slots() -> None:
    assert room(place(others=6), [consumer()], [trial()], 1.0) == Room(2), "two tasks are left"
    assert room(place(others=8), [consumer()], [trial()], 1.0) == Room(1)
    five_fit = [trial(seconds=15.0)]
    assert room(place(others=3), [consumer()], five_fit, 1.0) == Room(5)
    assert room(place(others=1), [consumer()], five_fit, 1.0) == Room(1), "two would be due 6"


def test_expected_workers_count_as_there() -> None:
    slow = [trial(seconds=25.0)]  # three fit
    assert room(place(min_workers=8), [consumer()], slow, 1.0) == Room(3)
    assert room(place(min_workers=12), [consumer()], [trial()], 1.0) == Room(12), "or none opens"


def test_task_longer_than_the_window_is_refused_with_both_figures() -> None:
    found = room(place(commit=32), [consumer()], [trial(seconds=40.0)], 1.0)
    assert found == Room(0, "a task takes 40.0 s here, 75 % of the window is 24.0 s")


def test_shapes_that_do_not_fit_are_refused_before_anything_is_tried() -> None:
    found = room(place(floor=2000 * MIB), [consumer(), consumer("b", 500 * MIB)], [], 1.0)
    assert found == Room(0, "a task needs at least 2,000 MiB, and 1,000 MiB can be had here")


def test_measured_peak_counts_as_well() -> None:
    found = room(place(), [consumer()], [trial(peak=1500 * MIB)], 1.0)
    assert found == Room(0, "a task took 1,500 MiB, more than can be had here now")


def test_smaller_machine_beside_a_larger_one_is_left_out() -> None:
    people = [consumer("large"), consumer("small", 10 * MIB)]
    found = room(place(floor=20 * MIB), people, [trial("large", 20.0)], 1.0, most=8)
    assert found == Room(1), "the small one is neither waited for nor counted"


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        ([], "its consumers are trying a task"),
        ([trial(state=BEGUN)], "its consumers are trying a task"),
        ([trial(state=FAILED)], "a task could not be computed: no such file"),
        (
            [trial("gone", state=BEGUN), trial("too", state=BEGUN)],
            "2 consumers ended while they tried a task",
        ),
    ],
)
def test_job_is_not_joined_before_its_trial_went_well(trials: list[Trial], reason: str) -> None:
    assert room(place(), [consumer()], trials, 1.0) == Room(0, reason)


def test_one_consumer_that_ended_is_no_verdict() -> None:
    assert room(place(), [consumer()], [trial("gone", state=BEGUN), trial()], 1.0).slots == 8


def test_nobody_and_no_clock_are_said() -> None:
    assert room(place(), [], [], 1.0) == Room(0, "nobody computes for this queue")
    unknown = "it is not known yet how fast blocks come"
    assert room(place(), [consumer()], [trial()], None) == Room(0, unknown)


def test_bond_limits_slots() -> None:
    assert room(place(free_bond=3 * UNITS), [consumer()], [trial()], 1.0) == Room(1)
    full = place(free_bond=3 * UNITS, others=5)
    assert room(full, [consumer()], [trial()], 1.0) == Room(3)
    poor = room(place(free_bond=UNITS // 2), [consumer()], [trial()], 1.0)
    assert poor == Room(0, "a slot locks 1 tokens, 0.5 may be locked")


@given(
    st.integers(1, 64),
    st.integers(0, 64),
    st.floats(0.01, 100.0),
    st.integers(1, 200),
    st.integers(1, 100),
)
def test_no_slot_but_the_first_is_more_than_can_be_served(
    tasks: int, others: int, seconds: float, commit: int, bonds: int
) -> None:
    job = place(others=others, tasks=tasks, commit=commit, free_bond=bonds * UNITS)
    found = room(job, [consumer()], [trial(seconds=seconds)], 1.0)
    can = int(USABLE * commit / seconds)
    assert (found.slots == 0) == (can == 0)
    if found.slots > 1:
        due = min(found.slots * -(-tasks // (others + found.slots)), tasks)
        assert due <= can
        assert due <= bonds
        assert found.slots + others <= tasks
