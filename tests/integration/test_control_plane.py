"""benchmarks/control_plane.py in small: the simulation plays whole rounds, its judge can say no."""

import copy
import json

import pytest

from benchmarks import control_plane_report as report
from benchmarks.control_plane import FIGURES, SIZES, by_round, point
from benchmarks.control_plane_play import Played, Size, play
from benchmarks.growth import STEEPEST, exponent, exponents, too_steep

SIZE = Size(operators=6, jobs=2, tasks=8, rounds=2)


@pytest.fixture(scope="module")
def played() -> Played:
    """Two rounds of two jobs on a real chain, with a real coordinator in a process of its own."""
    return play(SIZE)


def test_every_round_comes_through_and_everybody_is_paid(played: Played) -> None:
    assert played.paid == SIZE.operators
    assert set(played.rounds) == {0, 1}
    called = {name: len(used) for name, used in played.gas.items()}
    rounds = SIZE.jobs * SIZE.rounds
    assert called["sealUpdate"] == rounds
    assert called["gather"] == 3 * rounds
    assert called["sealUpdateCheck"] == 5 * rounds
    assert "join" not in called, "teams stay as they are"


def test_tick_looks_at_each_job_once_however_much_it_does(played: Played) -> None:
    """One look would be enough for whoever answers nothing; it is enough for everybody."""
    first, *others = (tick.requests["observe"] for tick in played.ticks)
    assert first % SIZE.jobs == 0
    assert max(others) <= first


def test_judge_finds_a_step_that_grows_with_the_square(played: Played) -> None:
    measured = point(played)
    sizes = [measured | {"jobs": jobs} for jobs in (2, 4, 8, 16)]
    for grown in sizes:
        factor = grown["jobs"] / 2
        grown["seconds"] = dict.fromkeys(measured["seconds"], factor * 0.1)
        grown["gas"] = {name: factor * used for name, used in measured["gas"].items()}
    flat = {"jobs": 2, "rounds": [by_round(played)[1] | {"round": n} for n in range(8)]}
    found = {"points": sizes, "history": flat}
    assert report.faults(found) == []
    planted = copy.deepcopy(found)
    for grown in planted["points"]:
        grown["seconds"]["decide"] *= grown["jobs"]
    assert report.faults(planted) == ["decide grows with the jobs to the power of 2.00"]
    planted = copy.deepcopy(found)
    for round_ in planted["history"]["rounds"]:
        round_["history"] += 2000 * round_["round"]
        round_["seconds"] *= 1 + round_["round"]
    assert report.faults(planted) == [
        "seconds of a tick grow with the rounds before it to the power of 1.00",
        "a round that is over leaves 1000 bytes in memory",
    ]


def test_document_shows_the_figures_and_no_fault() -> None:
    found = json.loads((FIGURES / "control-plane.json").read_text())
    played = [Size(p["operators"], p["jobs"], p["tasks"], p["rounds"]) for p in found["points"]]
    assert set(played) == set(SIZES)
    assert report.faults(found) == []
    text = (FIGURES.parent / "control-plane.md").read_text()
    assert [table for table in report.tables(found) if table not in text] == []
    for name, drawing in report.drawings(found).items():
        assert (FIGURES / f"control-plane-{name}.svg").read_text() == drawing


def test_exponent_is_that_of_the_law() -> None:
    sizes = [1, 4, 10, 20, 40]
    for power in (0.0, 0.5, 1.0, 2.0):
        assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_exponents_are_of_the_larger_half_and_above_the_least() -> None:
    sizes = [1, 10, 100, 1000]
    rows = [{"a": cost, "b": cost} for cost in (5.0, 5.0, 50.0, 500.0)]
    found = exponents(sizes, rows, {"a": 0.1, "b": 1000.0})
    assert found == {"a": pytest.approx(1.0), "b": 0.0}
    assert too_steep({"a": STEEPEST, "b": STEEPEST + 0.01}) == {"b": STEEPEST + 0.01}
