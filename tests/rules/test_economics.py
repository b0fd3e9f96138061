"""The bounds of a job's terms: each just met passes, each just missed is named."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.rules.economics import (
    MAX_GATHERERS,
    MAX_TASKS,
    check_terms,
    required_escrow,
    smallest_bond,
    smallest_coordinator_bond,
)
from protocol.rules.errors import BadTerm
from protocol.rules.records import Terms
from tests.support.rounds import make_terms


def test_terms_at_every_lower_bound_pass() -> None:
    check_terms(make_terms())
    check_terms(make_terms(reward=2, fee=2, update_fee=0, tasks=1, checks=1, panel=1, rounds=1))
    check_terms(make_terms(tasks=MAX_TASKS, checks=MAX_TASKS, gatherers=MAX_GATHERERS))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rounds", 0),
        ("tasks", 0),
        ("tasks", 257),
        ("checks", 0),
        ("checks", 5),
        ("gatherers", 1),
        ("gatherers", 4),
        ("gatherers", 15),
        ("panel", 2),
        ("panel", 0),
        ("min_workers", 0),
        ("min_workers", 257),
        ("max_failed_rounds", 0),
        ("reward", 0),
        ("reward", 1),
        ("reward", -1),
        ("fee", 100),
        ("update_fee", -1),
    ],
)
def test_term_out_of_bounds_is_named(name: str, value: int) -> None:
    terms = dataclasses.replace(make_terms(), **{name: value})
    with pytest.raises(BadTerm) as caught:
        check_terms(terms)
    assert caught.value.name == name
    assert caught.value.value == value
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["bond", "coordinator_bond", "min_verifiers"])
def test_bound_just_missed_is_named_with_the_bound(name: str) -> None:
    met = make_terms()
    exact = getattr(met, name)
    with pytest.raises(BadTerm) as caught:
        check_terms(dataclasses.replace(met, **{name: exact - 1}))
    assert (caught.value.name, caught.value.bound) == (name, exact)


@given(
    w=st.integers(2, 10**24),
    t=st.integers(1, 256),
    n=st.sampled_from([1, 3, 5, 13]),
    data=st.data(),
)
def test_bond_is_the_smallest_that_meets_both_bounds(
    w: int, t: int, n: int, data: st.DataObject
) -> None:
    j = data.draw(st.integers(1, t))
    f = data.draw(st.integers(w, 2 * w))
    u = data.draw(st.integers(0, 2 * w))
    bond = smallest_bond(w, t, j, n, f, u)

    def suffices(b: int) -> bool:
        return (b - n * f) * j >= 3 * w * t and b >= n * u

    assert suffices(bond)
    assert not suffices(bond - 1)


@pytest.mark.parametrize(
    "change",
    [
        {"update_fee": 1},  # 3*w*T/J + N*f binds: 101*3*4/1 + 3*111
        {"checks": 4, "fee": 700},  # the same, mostly N*f
        {"checks": 4, "update_fee": 900},  # N*u binds
    ],
)
def test_each_bound_on_the_bond_may_be_the_one_that_binds(change: dict[str, int]) -> None:
    terms = make_terms(**{"checks": 1, **change})
    check_terms(terms)
    with pytest.raises(BadTerm, match="bond"):
        check_terms(dataclasses.replace(terms, bond=terms.bond - 1))


def test_amounts_by_hand() -> None:
    terms: Terms = make_terms(
        rounds=5, tasks=7, checks=2, gatherers=3, panel=3, reward=10, fee=12, update_fee=4
    )
    assert required_escrow(terms) == 5 * (7 * 10 + 2 * 12 + 6 * 4)
    assert smallest_bond(10, 7, 2, 3, 12, 4) == 105 + 36
    assert smallest_bond(10, 7, 4, 3, 12, 4) == 53 + 36  # 52.5 rounded up
    assert smallest_coordinator_bond(10, 7, 3, 4) == 82
