"""No cheat pays for three tenths of the verifier slots, whatever terms the contract accepts.

Exact gains over a grid of the most extreme terms; and the same cheats, played through the rules.
"""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from random import Random

import pytest

from benchmarks import economics, economics_model, economics_play
from benchmarks.economics import CHEATS, SIGMAS, old_bond, standard_error, terms
from benchmarks.economics_model import (
    Setting,
    candidates,
    colluding_slots,
    expectation,
    seated,
    taken_whole,
    within,
)
from protocol.rules.economics import check_terms
from protocol.rules.errors import BadTerm

SHARE = Fraction(3, 10)
ROUNDS = 150
SMALL = [
    Setting(terms(8, 4, 3, 3, 100, 120, 50), 11, 3),  # most seats have no second candidate
    Setting(terms(8, 4, 3, 1, 100, 100, 900), 14, 4),
    Setting(terms(1, 1, 13, 3, 2, 2, 1000), 17, 5),  # most of the roster checks the update
]


def extremes(panel: int) -> Iterator[Setting]:
    """Least bonds; fees and update fees from the least to far above the work they check."""
    for tasks, checks in ((1, 1), (2, 1), (3, 2), (8, 5), (64, 1), (64, 8), (64, 64), (256, 4)):
        deterrent = -(-3 * 2 * tasks // checks)
        for gatherers in (3, 13):
            for fee in (2, max(2, deterrent // panel), 100 * deterrent):
                for update_fee in (0, max(1, deterrent // panel), 10_000 * deterrent):
                    t = terms(tasks, checks, gatherers, panel, 2, fee, update_fee)
                    for slots in (t.min_verifiers, t.min_verifiers + 3, 400):
                        colluding = colluding_slots(slots, SHARE)
                        if colluding:
                            yield Setting(t, slots, colluding)


@pytest.mark.parametrize("panel", [1, 3, 5, 13])
def test_no_cheat_pays_on_any_terms(panel: int) -> None:
    seen = 0
    for setting in extremes(panel):
        seen += 1
        for name, gains_of, _ in CHEATS:
            assert expectation(gains_of(setting)) < 0, (name, setting)
        for name, change in economics_model.deeds(setting.terms).items():
            assert change <= 0, (name, setting)
    assert seen > 300


def test_bond_that_only_feeds_the_panel_would_let_garbage_pay() -> None:
    """Why fees come on top of three times w*T/J: a small panel may be the liar's friends."""
    for panel, fee in ((1, 384), (3, 128)):
        t = terms(64, 1, 3, panel, 2, fee, 0)
        setting = Setting(t, 10, 3)
        assert expectation(economics_model.skip_work(setting)) < 0
        assert expectation(economics_model.skip_work(Setting(old_bond(t), 10, 3))) > 0


def test_reward_of_one_would_make_idleness_free() -> None:
    least = terms(4, 1, 3, 3, 2, 2, 0)
    free = dataclasses.replace(least, reward=1)
    assert economics_model.deeds(least)["claims a task and seals nothing"] == -1
    assert economics_model.deeds(free)["claims a task and seals nothing"] == 0
    check_terms(least)
    with pytest.raises(BadTerm, match="reward"):
        check_terms(free)


@pytest.mark.parametrize("number", range(len(SMALL)))
@pytest.mark.parametrize("cheat", CHEATS, ids=[name for name, _, _ in CHEATS])
def test_rules_pay_what_was_computed(cheat: tuple, number: int) -> None:  # type: ignore[type-arg]  # a row of CHEATS
    name, gains_of, play = cheat
    setting = SMALL[number]
    mean, spread = economics_play.average(lambda dice: play(setting, dice), ROUNDS, seed=number)
    gains = gains_of(setting)
    error = standard_error(gains, spread, ROUNDS)
    exact = float(expectation(gains))
    if "silent" in name:  # its exact value lets friends hide a lie more often than turns do
        assert mean < exact + SIGMAS * error
        assert mean < 0
    else:
        assert abs(mean - exact) < SIGMAS * error


def test_chances_of_a_cheat_sum_to_one() -> None:
    for _, gains_of, _ in CHEATS:
        for setting in SMALL:
            assert sum(chance for chance, _ in gains_of(setting)) == 1


def test_same_dice_play_the_same_rounds() -> None:
    setting = SMALL[0]
    first, second = (economics_play.skip_work(setting, Random(3)) for _ in range(2))
    assert first == second


# --- the chances, against counting ---


def test_seats_are_filled_as_counting_says() -> None:
    assert seated(5, 2, 2) == [Fraction(3, 10), Fraction(6, 10), Fraction(1, 10)]
    assert within(5, 2, 2) == Fraction(1, 10)
    assert within(5, 2, 3) == 0
    assert [candidates(seat, 3, 8, 4) for seat in range(3)] == [3, 3, 2]
    assert candidates(0, 3, 100, 4) == 4


def test_groups_are_taken_whole_as_counting_says() -> None:
    """Two groups of one and two slots out of four, of which two are chosen: six choices."""
    found = taken_whole([1, 2], lambda size: within(4, 2, size))
    # {a}: chosen in 3 of 6, then never with both of {b, c}; {b, c} in 1 of 6.
    assert found == [Fraction(2, 6), Fraction(4, 6), Fraction(0)]
    assert sum(found) == 1


def test_turns_are_the_rules() -> None:
    assert economics_play.turns.TURNS == economics_model.TURNS
    assert economics.SHARES[2] == SHARE
