"""What a round costs: below the target, and as it was when the contracts were last agreed on."""

import copy

import pytest

from tests.support.gas_snapshot import TARGET, differences, kept, snapshot_of
from tests.support.metered import Setting, play_rounds


@pytest.mark.slow
def test_rounds_cost_what_the_snapshot_says() -> None:
    moved = differences(snapshot_of(play_rounds(Setting()), Setting()), kept())
    assert not moved, "\n".join(
        ["gas moved; if that is meant: python benchmarks/gas.py --keep", *moved]
    )


def test_snapshot_is_below_the_target_in_every_round() -> None:
    costs = [round_["per task"] for round_ in kept().values()]
    assert len(costs) == Setting().rounds
    assert all(cost <= TARGET for cost in costs)


def test_figure_that_moves_is_named() -> None:
    found = copy.deepcopy(kept())
    assert differences(found, kept()) == []
    found["round 0"]["per task"] += 3_000
    found["round 1"]["functions"]["gather"]["mean"] -= 20_000
    found["round 1"]["functions"]["advance"]["calls"] += 1
    del found["round 0"]["functions"]["sealUpdate"]
    named = " ".join(differences(found, kept()))
    for word in ("round 0: per task", "round 1, gather", "round 1, advance: 4 calls", "sealUpdate"):
        assert word in named
