"""Draws: a permutation is one, every seat has an order of candidates, nothing else decides."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.rules import draws
from protocol.rules.records import Stage

SEEDS = st.binary(min_size=32, max_size=32)


@given(SEEDS, st.integers(1, 300))
def test_permute_is_a_permutation(seed: bytes, size: int) -> None:
    assert sorted(draws.permute(seed, i, size) for i in range(size)) == list(range(size))


def test_permute_depends_on_the_seed() -> None:
    orders = {tuple(draws.permute(bytes([n]) * 32, i, 16) for i in range(16)) for n in range(50)}
    assert len(orders) == 50


def test_permute_is_close_to_uniform() -> None:
    # 4,000 draws of one of 5: each expected 800 times, six standard deviations are 152.
    hits = [0] * 5
    for n in range(4000):
        hits[draws.permute(n.to_bytes(32, "big"), 2, 5)] += 1
    assert all(abs(count - 800) < 152 for count in hits)


@given(SEEDS)
def test_draw_seed_separates_purposes_and_questions(beacon: bytes) -> None:
    seeds = {draws.draw_seed(beacon, stage, q) for stage in Stage for q in range(5)}
    assert len(seeds) == len(Stage) * 5


@given(SEEDS, st.integers(1, 20), st.integers(1, 40))
def test_tasks_are_spread_evenly_over_the_roster(seed: bytes, workers: int, tasks: int) -> None:
    owned = [0] * workers
    for task in range(tasks):
        owned[draws.roster_index_of_task(seed, task, workers)] += 1
    order = draws.task_order(seed, tasks, workers)
    assert order == tuple(draws.roster_index_of_task(seed, t, workers) for t in range(tasks))
    assert max(owned) - min(owned) <= 1


@given(SEEDS, st.integers(1, 40), st.data())
def test_exactly_the_check_rate_is_drawn(seed: bytes, tasks: int, data: st.DataObject) -> None:
    checks = data.draw(st.integers(1, tasks))
    everything = (1 << tasks) - 1
    drawn = draws.drawn_tasks(seed, everything, tasks, checks)
    assert drawn.bit_count() == checks
    seats = [draws.check_seat_of_task(seed, task, tasks, checks) for task in range(tasks)]
    assert sorted(s for s in seats if s is not None) == list(range(checks))
    some = data.draw(st.integers(0, everything))
    assert draws.drawn_tasks(seed, some, tasks, checks) == drawn & some


@given(SEEDS, st.integers(1, 8), st.integers(1, 60))
def test_no_position_is_candidate_for_two_seats(seed: bytes, seats: int, verifiers: int) -> None:
    all_candidates = [
        position
        for seat in range(seats)
        for position in draws.candidates(seed, seat, seats, verifiers)
    ]
    assert len(set(all_candidates)) == len(all_candidates)
    assert set(all_candidates) <= set(range(verifiers))
    if verifiers <= seats * draws.MAX_TRIES:
        assert len(all_candidates) == verifiers


@given(SEEDS, st.sets(st.integers(0, 29)))
def test_holder_is_the_first_eligible_candidate(seed: bytes, barred: set[int]) -> None:
    order = list(draws.candidates(seed, 1, 3, 30))
    [held] = draws.holders(seed, 1, 3, 30, lambda p: p not in barred)
    assert held == next((p for p in order if p not in barred), None)


def test_seat_stays_empty_after_sixteen_ineligible_candidates() -> None:
    seed = bytes(32)
    order = list(draws.candidates(seed, 0, 1, 300))
    assert len(order) == 16
    assert draws.holders(seed, 0, 1, 300, lambda p: p not in order) == []
