"""The transition function as a table: every row of the protocol, and nothing between the rows."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.rules.phases import Facts, next_phase
from protocol.rules.records import Phase

P = Phase
EARLY = {"now_block": 9, "deadline": 10, "pending": 1}
OVER = {"now_block": 10, "deadline": 10, "pending": 1}
DONE = {"now_block": 9, "deadline": 10, "pending": 0}

BEACONS = {
    P.SEED: P.COMMIT,
    P.VERDICT_DRAW: P.VERDICT_SEAL,
    P.UPDATE_DRAW: P.UPDATE_CHECK,
    P.UPDATE_VERDICT_DRAW: P.UPDATE_VERDICT_SEAL,
}
# phase, facts that decide, phase that follows when the window is over or nothing is pending
WINDOWS = [
    (P.COMMIT, {"any_sealed": True}, P.DRAW),
    (P.COMMIT, {"any_sealed": False}, P.FINALISE),
    (P.CHECK, {"any_unanswered": False}, P.REVEAL),
    (P.CHECK, {"any_unanswered": True, "too_many_unanswered": True}, P.REDRAW),
    (P.RECHECK, {"any_unanswered": True, "too_many_unanswered": False}, P.REVEAL),
    (P.RECHECK, {"any_unanswered": True, "too_many_unanswered": True}, P.FINALISE),
    (P.REVEAL, {}, P.GATHER),
    (P.VERDICT_SEAL, {}, P.VERDICT_OPEN),
    (P.VERDICT_OPEN, {"updatable": True}, P.UPDATE),
    (P.VERDICT_OPEN, {"updatable": False}, P.FINALISE),
    (P.UPDATE_CHECK, {"checkers_answered": True}, P.UPDATE_OPEN),
    (P.UPDATE_CHECK, {"checkers_answered": False}, P.FINALISE),
    (P.UPDATE_OPEN, {"update_disputed": True}, P.UPDATE_VERDICT_DRAW),
    (P.UPDATE_OPEN, {"update_disputed": False}, P.UPDATE_CHALLENGE),
    (P.UPDATE_VERDICT_SEAL, {}, P.UPDATE_VERDICT_OPEN),
    (P.UPDATE_VERDICT_OPEN, {}, P.FINALISE),
]
# the same for windows that only the clock ends
CHALLENGES = [
    (P.GATHER, {"any_disputed": True}, P.VERDICT_DRAW),
    (P.GATHER, {"any_disputed": True, "updatable": True}, P.VERDICT_DRAW),
    (P.GATHER, {"updatable": True}, P.UPDATE),
    (P.GATHER, {}, P.FINALISE),
    (P.UPDATE_CHALLENGE, {"update_challenged": True}, P.UPDATE_VERDICT_DRAW),
    (P.UPDATE_CHALLENGE, {}, P.FINALISE),
]


@pytest.mark.parametrize(("phase", "following"), BEACONS.items())
def test_beacon_phase_waits_for_its_beacon_alone(phase: Phase, following: Phase) -> None:
    for time in (EARLY, OVER, DONE):
        assert next_phase(phase, Facts(**time)) == phase
        assert next_phase(phase, Facts(**time, beacon_ready=True)) == following


def test_draw_skips_the_check_where_nothing_is_drawn() -> None:
    assert next_phase(P.DRAW, Facts(any_drawn=True)) == P.DRAW
    assert next_phase(P.DRAW, Facts(beacon_ready=True, any_drawn=True)) == P.CHECK
    assert next_phase(P.DRAW, Facts(beacon_ready=True)) == P.REVEAL


@pytest.mark.parametrize(("phase", "facts", "following"), WINDOWS)
def test_window_ends_at_its_deadline_or_when_nothing_is_pending(
    phase: Phase, facts: dict[str, bool], following: Phase
) -> None:
    assert next_phase(phase, Facts(**EARLY, **facts)) == phase
    assert next_phase(phase, Facts(**OVER, **facts)) == following
    assert next_phase(phase, Facts(**DONE, **facts)) == following


@pytest.mark.parametrize(("phase", "facts", "following"), CHALLENGES)
def test_challenge_window_never_ends_early(
    phase: Phase, facts: dict[str, bool], following: Phase
) -> None:
    assert next_phase(phase, Facts(**EARLY, **facts)) == phase
    assert next_phase(phase, Facts(**DONE, **facts)) == phase
    assert next_phase(phase, Facts(**OVER, **facts)) == following


@pytest.mark.parametrize("phase", [P.UPDATE, P.SUCCESSION])
def test_update_waits_for_its_proposal_and_takes_a_late_one(phase: Phase) -> None:
    assert next_phase(phase, Facts(**EARLY)) == phase
    assert next_phase(phase, Facts(**DONE)) == phase
    assert next_phase(phase, Facts(**EARLY, proposed=True)) == P.UPDATE_DRAW
    assert next_phase(phase, Facts(**OVER, proposed=True)) == P.UPDATE_DRAW
    assert next_phase(phase, Facts(**OVER)) == P.FINALISE


def test_gatherers_follow_a_late_coordinator_once() -> None:
    assert next_phase(P.UPDATE, Facts(**EARLY, any_successor=True)) == P.UPDATE
    assert next_phase(P.UPDATE, Facts(**OVER, any_successor=True)) == P.SUCCESSION
    assert next_phase(P.SUCCESSION, Facts(**OVER, any_successor=True)) == P.FINALISE


@pytest.mark.parametrize("time", [EARLY, OVER, DONE])
def test_waiting_opens_unless_the_job_has_ended(time: dict[str, int]) -> None:
    assert next_phase(P.WAITING, Facts(**time)) == P.WAITING
    assert next_phase(P.WAITING, Facts(**time, can_open=True)) == P.SEED
    assert next_phase(P.WAITING, Facts(**time, can_open=True, ended=True)) == P.ENDED
    assert next_phase(P.WAITING, Facts(**time, ended=True)) == P.ENDED


def test_finalise_waits_until_everything_is_settled() -> None:
    assert next_phase(P.FINALISE, Facts(ended=True)) == P.FINALISE
    assert next_phase(P.FINALISE, Facts(settled=True)) == P.WAITING
    assert next_phase(P.FINALISE, Facts(settled=True, ended=True)) == P.ENDED


def test_none_and_ended_are_final() -> None:
    flags = [f.name for f in dataclasses.fields(Facts) if f.type is bool or f.type == "bool"]
    everything = Facts(now_block=10, **dict.fromkeys(flags, True))
    for phase in (P.NONE, P.ENDED):
        assert next_phase(phase, everything) == phase
        assert next_phase(phase, Facts(now_block=10)) == phase


FACTS = st.builds(
    Facts,
    now_block=st.integers(0, 20),
    deadline=st.integers(0, 20),
    pending=st.integers(0, 3),
    **{
        f.name: st.booleans()
        for f in dataclasses.fields(Facts)
        if f.name not in ("now_block", "deadline", "pending")
    },
)


@given(st.sampled_from(Phase), FACTS)
def test_every_step_goes_forward(phase: Phase, facts: Facts) -> None:
    following = next_phase(phase, facts)
    assert isinstance(following, Phase)
    assert following >= phase or (phase, following) == (P.FINALISE, P.WAITING)


def test_only_a_settled_or_waiting_round_ends_the_job() -> None:
    sources = set()
    for phase, over, flag in itertools.product(Phase, (False, True), (False, True)):
        facts = Facts(
            now_block=int(over), deadline=1, pending=1, ended=True, settled=flag, beacon_ready=flag
        )
        if next_phase(phase, facts) == P.ENDED:
            sources.add(phase)
    assert sources == {P.WAITING, P.FINALISE, P.ENDED}


def test_time_alone_ends_every_round() -> None:
    """With beacons read and settlement called, the clock brings any phase to the end."""
    clock = Facts(now_block=10, deadline=10, pending=1, beacon_ready=True, settled=True)
    for start in Phase:
        if start in (P.NONE, P.WAITING):
            continue
        phase, steps = start, 0
        while phase not in (P.WAITING, P.ENDED):
            phase, steps = next_phase(phase, clock), steps + 1
            assert steps < len(Phase)
