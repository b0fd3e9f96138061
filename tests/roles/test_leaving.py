"""What a role that was told to leave still does, what it begins no more, and when it may go."""

from collections.abc import Sequence

import pytest

from coordinator.project import decide as coordinate
from protocol.role.actions import Action, Answer, Hold, Send
from protocol.role.leaving import Departure, unopened
from protocol.rules.records import ZERO_ADDRESS, Address, Ending, Phase, Stage
from tests.roles.test_verifier import check_holders, drawn_bitmap, scene_in
from tests.roles.test_worker import decide, idle, my_tasks, stranger
from tests.support.rounds import JOB, address
from tests.support.sights import COORDINATOR, COORDINATOR_KEY, NOW, VERIFIERS, WORKERS, Scene
from verifier.draw import Limits as VerifierLimits
from verifier.draw import decide as verify
from verifier.leaving import unfinished as verifier_unfinished
from worker.claim import FROZEN, Limits
from worker.leaving import unfinished as worker_unfinished

SLOT, ME = WORKERS[0]
UPDATE = 4
ROUND = f"job {JOB}, round 0"
TO_LEAVE = f"to leave job {JOB} with 1 slot"


def functions(actions: Sequence[Action]) -> list[str]:
    return [action.function for action in actions if isinstance(action, Send)]


# --- the worker ---


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (Phase.NONE, Phase.ENDED)])
def test_slots_are_taken_out_as_soon_as_the_roster_may_change(phase: Phase) -> None:
    scene = Scene(phase=phase, leaving=True)
    sends = [a for a in decide(scene.look(), Limits()) if isinstance(a, Send)]
    left = [] if phase in FROZEN else [("leave", (JOB, SLOT))]
    assert [(s.function, s.args) for s in sends] == left
    assert TO_LEAVE in worker_unfinished(scene.look())
    scene.past.drop_slot(SLOT)
    assert TO_LEAVE not in worker_unfinished(scene.look())


def test_nothing_new_is_joined_or_claimed() -> None:
    assert functions(decide(stranger(phase=Phase.WAITING).look(), Limits())) == ["join"]
    assert decide(stranger(phase=Phase.WAITING, leaving=True).look(), Limits()) == []
    assert worker_unfinished(stranger(phase=Phase.WAITING, leaving=True).look()) == []
    scene = idle()
    assert functions(decide(scene.look(), Limits())) == ["claim"]
    scene.leaving = True
    assert decide(scene.look(), Limits()) == []


def test_tasks_of_a_round_that_binds_it_are_served() -> None:
    scene = Scene(leaving=True)
    tasks = my_tasks(scene)
    expected = [Answer(JOB, 0, Stage.WORK, task, 0) for task in tasks]
    assert decide(scene.look(), Limits()) == expected
    assert f"to seal {len(tasks)} tasks of {ROUND}" in worker_unfinished(scene.look())
    for task in tasks:
        scene.keep(Stage.WORK, task)
        scene.seal(Stage.WORK, task)
    assert worker_unfinished(scene.look()) == [
        f"to open {len(tasks)} seals of {ROUND}",
        TO_LEAVE,
    ]


def test_claim_that_was_taken_is_served() -> None:
    scene = idle()
    [left] = [t for t in range(scene.terms.tasks) if (Stage.WORK, t, 0) not in scene.record.seals]
    scene.record.claims[left] = (SLOT, ME)
    scene.leaving = True
    assert decide(scene.look(), Limits()) == [Answer(JOB, 0, Stage.WORK, left, 0)]
    assert f"to seal 1 task of {ROUND}" in worker_unfinished(scene.look())


def sealed(phase: Phase, *, opened: bool = False) -> Scene:
    """A worker whose slot is out already, with one seal."""
    scene = Scene(phase=phase, leaving=True)
    scene.past.drop_slot(SLOT)
    scene.keep(Stage.WORK, 0)
    scene.seal(Stage.WORK, 0, opened=opened)
    return scene


def test_seal_is_opened_without_a_slot() -> None:
    scene = sealed(Phase.REVEAL)
    assert functions(decide(scene.look(), Limits())) == ["open"]
    assert worker_unfinished(scene.look()) == [f"to open 1 seal of {ROUND}"]


def test_result_is_there_until_gatherers_are_done() -> None:
    asked = [f"for gatherers to fetch 1 result of {ROUND}"]
    assert worker_unfinished(sealed(Phase.REVEAL, opened=True).look()) == asked
    assert worker_unfinished(sealed(Phase.GATHER, opened=True).look()) == asked
    assert worker_unfinished(sealed(Phase.UPDATE, opened=True).look()) == []


def test_nothing_is_waited_for_that_can_no_longer_be_had() -> None:
    assert worker_unfinished(sealed(Phase.GATHER).look()) == [], "the window is over"
    lost = sealed(Phase.REVEAL)
    lost.openings.clear()
    assert worker_unfinished(lost.look()) == [], "nobody can open it"
    released = sealed(Phase.REVEAL)
    released.round_fields = {"drawn": 1, "answered": 0}
    assert worker_unfinished(released.look()) == [], "nobody has to open it"
    released.phase = Phase.RECHECK
    assert worker_unfinished(released.look()), "somebody may still answer it"


def test_bonds_of_an_ended_job_come_home_first() -> None:
    scene = Scene(phase=Phase.ENDED, leaving=True)
    scene.past.ending = Ending.COMPLETED
    assert functions(decide(scene.look(), Limits())) == ["leave"]
    assert worker_unfinished(scene.look()) == [TO_LEAVE]


# --- the verifier ---


def test_checks_are_passed_to_the_next_candidate() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    task, seat = next(iter(check_holders(scene).items()))
    scene.provider, scene.leaving = seat.provider, True
    actions = verify(scene.look(), VerifierLimits())
    assert set(functions(actions)) == {"pass"}
    assert len(functions(actions)) == len(actions)
    assert verifier_unfinished(scene.look()) == []
    scene.keep(Stage.CHECK, task)
    scene.seal(Stage.CHECK, task)
    assert verifier_unfinished(scene.look()) == [f"to open 1 seal of {ROUND}"]


def test_nothing_is_enrolled_gathered_or_proposed() -> None:
    scene = Scene(phase=Phase.WAITING, provider=address(77), leaving=True)
    assert verify(scene.look(), VerifierLimits()) == []
    for phase in (Phase.GATHER, Phase.SUCCESSION):
        scene = scene_in(phase)
        scene.leaving = True
        scene.now = NOW + 19
        for _, provider in VERIFIERS:
            scene.provider = provider
            if phase == Phase.SUCCESSION:
                scene.record.gathered = {0: (provider, 0b1111)}
            assert verify(scene.look(), VerifierLimits(spot_checks=1.0)) == []


def gathered(provider: Address, phase: Phase) -> Scene:
    """A verifier that leaves and has gathered at every seat."""
    scene = scene_in(phase)
    scene.provider, scene.leaving = provider, True
    scene.record.gathered = dict.fromkeys(range(scene.terms.gatherers), (provider, 15))
    return scene


def test_who_gathered_checks_the_update() -> None:
    scene = gathered(VERIFIERS[0][1], Phase.UPDATE)
    checks = [f"to check the update of {ROUND}"] * scene.terms.gatherers
    assert verifier_unfinished(scene.look()) == checks
    scene = scene_in(Phase.UPDATE_CHECK)
    scene.seal(Stage.UPDATE, UPDATE, provider=COORDINATOR)
    scene.leaving = True
    done = 0
    for _, provider in VERIFIERS:
        scene.provider = provider
        scene.record.gathered = dict.fromkeys(range(scene.terms.gatherers), (provider, 15))
        actions = verify(scene.look(), VerifierLimits())
        answers = [a for a in actions if isinstance(a, Answer)]
        assert all(a.seat < scene.terms.gatherers for a in answers), "the drawn seats are passed"
        assert not [a for a in actions if isinstance(a, Hold)]
        done += len(answers)
    assert done == scene.terms.gatherers
    assert verifier_unfinished(gathered(VERIFIERS[0][1], Phase.UPDATE_OPEN).look()) == []


def test_seats_on_panels_are_kept() -> None:
    scene = scene_in(Phase.VERDICT_SEAL, disputed=0b0001)
    scene.seal(Stage.CHECK, 0, provider=address(1998))
    scene.leaving = True
    voting = 0
    for _, provider in VERIFIERS:
        scene.provider = provider
        actions = verify(scene.look(), VerifierLimits())
        assert verifier_unfinished(scene.look()) == [f"to vote on question 0 of {ROUND}"] * len(
            actions
        )
        voting += len(actions)
    assert voting == scene.terms.panel


# --- the coordinator ---


def test_coordinator_opens_its_proposal_and_begins_none() -> None:
    scene = Scene(provider=COORDINATOR, operator=COORDINATOR_KEY, phase=Phase.UPDATE, leaving=True)
    assert coordinate(scene.look()) == []
    assert unopened(scene.look()) == []
    scene.keep(Stage.UPDATE, UPDATE)
    scene.seal(Stage.UPDATE, UPDATE)
    assert unopened(scene.look()) == [f"to open 1 seal of {ROUND}"]
    scene.phase = Phase.UPDATE_OPEN
    assert functions(coordinate(scene.look())) == ["open"]
    scene.seal(Stage.UPDATE, UPDATE, opened=True)
    assert unopened(scene.look()) == []


def test_coordinator_accepts_nothing_new() -> None:
    scene = Scene(
        provider=COORDINATOR, operator=COORDINATOR_KEY, coordinator=ZERO_ADDRESS, leaving=True
    )
    scene.between_rounds()
    assert coordinate(scene.look()) == []


# --- going ---


def test_role_waits_until_what_it_sent_is_mined_and_read() -> None:
    departure = Departure(lambda _: [])
    sight = Scene(now=101).look()  # blocks up to 100 have been read
    departure.hush(1, 100)
    assert departure.awaits(sight) == "for its transactions to be mined"
    departure.hush(0, 101)
    assert departure.awaits(sight), "the block that holds it has not been read"
    assert departure.awaits(Scene(now=102).look()) == ""
    departure.stir()
    assert departure.awaits(Scene(now=102).look()), "it may have sent something more"
    departure.hush(0, 101)
    departure.hush(0, 150)
    assert departure.awaits(Scene(now=102).look()) == "", "the first quiet block counts"


def test_role_says_everything_that_it_waits_for() -> None:
    departure = Departure(lambda _: ["to do this", "to do that"])
    departure.hush(0, 1)
    assert departure.awaits(Scene().look()) == "to do this; to do that"
