"""One short run of `make chaos`, and that its judge sees what it should."""

from pathlib import Path

import pytest

from protocol.rules.history import JobHistory, Line
from protocol.rules.records import Ending, Phase, Reason, TaskResult
from tests.chaos.market import TASKS
from tests.chaos.run import losses, run
from tests.support.sights import Scene

SEED = 167
"""Its first disturbances are of different kinds."""


def finished_well() -> JobHistory:
    """One round in which every task was included."""
    scene = Scene(phase=Phase.FINALISE)
    scene.record.results = dict.fromkeys(range(TASKS), TaskResult.INCLUDED)
    scene.past.ending = Ending.COMPLETED
    return scene.past


def test_judge_finds_nothing_where_nobody_lost_anything() -> None:
    assert losses(finished_well(), 1, {}) == []


def test_judge_sees_a_lost_bond_a_lost_task_a_lost_round_and_a_lost_job() -> None:
    past = finished_well()
    worker = past.roster[0][1]
    past.rounds[0].lines = [Line("slash", worker, 2, Reason.UNOPENED, 7)]
    assert losses(past, 1, {worker: "worker-1"}) == ["worker-1 lost 7 for UNOPENED"]
    past = finished_well()
    past.rounds[0].results[3] = TaskResult.EMPTY
    assert losses(past, 1, {}) == ["included were [[0, 1, 2]]"]
    assert losses(finished_well(), 2, {}) == ["included were [[0, 1, 2, 3]]"]
    past = finished_well()
    past.ending = Ending.STOPPED
    assert losses(past, 1, {}) == ["the job ended STOPPED"]


@pytest.mark.timeout(600)
def test_a_round_of_chaos_leaves_no_trace(tmp_path: Path) -> None:
    happened: list[str] = []
    outcome = run(SEED, 1, tmp_path, happened.append, most_seconds=300)
    assert outcome.faults == [], happened
    assert outcome.happened.total() >= 1
