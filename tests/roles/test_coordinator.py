"""What a coordinator does in each phase, and that a lost post is not taken again."""

import pytest

from coordinator.project import decide
from protocol.role.actions import Answer, Prove, Send
from protocol.rules.records import ZERO_ADDRESS, Phase, Stage
from tests.support.rounds import JOB, address
from tests.support.sights import COORDINATOR, COORDINATOR_KEY, Scene

UPDATE = 4
QUIET = [p for p in Phase if p not in (Phase.NONE, Phase.FINALISE, Phase.UPDATE)]


def coordinator(**changes: object) -> Scene:
    values = {"provider": COORDINATOR, "operator": COORDINATOR_KEY, **changes}
    return Scene(**values)  # type: ignore[arg-type]  # any field


def test_named_coordinator_accepts_a_new_job() -> None:
    scene = coordinator(coordinator=ZERO_ADDRESS)
    scene.between_rounds()
    [send] = decide(scene.look())
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("accept", (JOB, COORDINATOR))


def test_job_that_was_not_vetted_is_moved_on_and_nothing_else() -> None:
    scene = coordinator(coordinator=ZERO_ADDRESS, fit=False, advance_due=True)
    scene.between_rounds()
    assert [action.function for action in decide(scene.look())] == ["advance"]  # type: ignore[union-attr]  # sends
    assert decide(coordinator(phase=Phase.UPDATE, fit=False).look()) == []


def test_accepted_job_is_not_accepted_twice() -> None:
    scene = coordinator()
    scene.between_rounds()
    assert decide(scene.look()) == []


def test_update_waits_until_all_its_openings_have_been_read() -> None:
    """The next block includes a task whose opening, in the last one, is not yet read."""
    scene = coordinator(phase=Phase.UPDATE, round_fields={"included": 0b1001})
    scene.seal(Stage.WORK, 0, provider=address(1001), opened=True)
    scene.seal(Stage.WORK, 3, provider=address(1001), opened=False)
    assert decide(scene.look()) == []
    scene.seal(Stage.WORK, 3, provider=address(1001), opened=True)
    assert decide(scene.look()) == [Answer(JOB, 0, Stage.UPDATE, UPDATE, 0)]


def test_lost_post_is_not_taken_again() -> None:
    scene = coordinator(coordinator=ZERO_ADDRESS, phase=Phase.WAITING)
    scene.record.finalised = True
    scene.record.coordinator_removed = True
    assert decide(scene.look()) == []


@pytest.mark.parametrize("phase", list(Phase))
def test_job_of_another_coordinator_is_left_alone(phase: Phase) -> None:
    scene = coordinator(operator=address(1234), phase=phase, advance_due=True)
    scene.between_rounds()
    scene.phase = phase
    assert decide(scene.look()) == []


@pytest.mark.parametrize("phase", QUIET)
def test_nothing_to_do_where_storage_is_up_to_date(phase: Phase) -> None:
    assert decide(coordinator(phase=phase).look()) == []


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.CHECK, Phase.SEED, Phase.ENDED])
def test_round_is_moved_on_where_storage_lags(phase: Phase) -> None:
    """Also where the phase stays: an expired wait, a beacon that is too old."""
    scene = coordinator(phase=phase, advance_due=True)
    [send] = decide(scene.look())
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("advance", (JOB,))


def test_settlement_is_driven_to_its_end() -> None:
    [send] = decide(coordinator(phase=Phase.FINALISE, advance_due=True).look())
    assert isinstance(send, Send)
    assert send.function == "advance"


def test_advance_has_a_key_per_block() -> None:
    scene = coordinator(phase=Phase.FINALISE, advance_due=True)
    [first] = decide(scene.look())
    assert isinstance(first, Send)
    assert first.key.endswith("/100")


def test_update_is_computed_sealed_and_opened_once() -> None:
    scene = coordinator(phase=Phase.UPDATE)
    assert decide(scene.look()) == [Answer(JOB, 0, Stage.UPDATE, UPDATE, 0)]
    opening = scene.keep(Stage.UPDATE, UPDATE)
    [send] = decide(scene.look())
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("sealUpdate", (JOB, 0, opening.hash))
    scene.seal(Stage.UPDATE, UPDATE)
    assert decide(scene.look()) == []
    scene.phase = Phase.UPDATE_OPEN
    [send] = decide(scene.look())
    assert isinstance(send, Send)
    assert (send.function, send.args[2][0][0]) == ("open", int(Stage.UPDATE))
    scene.seal(Stage.UPDATE, UPDATE, opened=True)
    assert decide(scene.look()) == []


def test_somebody_elses_post_is_not_served() -> None:
    """The key is named by the job, but another provider's bond holds the post."""
    scene = coordinator(phase=Phase.UPDATE, coordinator=address(4321))
    assert decide(scene.look()) == []


def test_block_that_the_beacon_waits_for_is_proven_before_anything_moves() -> None:
    scene = coordinator(phase=Phase.SEED)
    scene.proof_due = 77
    assert decide(scene.look()) == [Prove(77)]
    scene.operator = address(1234)
    assert decide(scene.look()) == []
