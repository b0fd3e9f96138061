"""Spot checks: what a verifier recomputes of its own accord, and when it challenges."""

import pytest

from protocol.role.actions import Answer, Send
from protocol.rules.draws import is_picked
from protocol.rules.records import Phase, Stage
from tests.support.rounds import JOB, address, digest
from tests.support.sights import COORDINATOR, VERIFIERS, Scene
from verifier.draw import Limits, decide

WORKER = address(1999)
VERIFIER = VERIFIERS[0][1]
EVERYTHING = Limits(spot_checks=1.0)
TASK = 1


def scene_in(phase: Phase) -> Scene:
    """Task 1 is revealed and nobody was drawn for it; the verifier gathers nothing."""
    scene = Scene(phase=phase, provider=VERIFIER)
    scene.seal(Stage.WORK, TASK, provider=WORKER, opened=True)
    for seat in range(3):
        scene.record.gathered[seat] = (address(1), 0)
    return scene


def test_undrawn_task_is_recomputed_then_left_alone_where_it_is_right() -> None:
    scene = scene_in(Phase.GATHER)
    assert decide(scene.look(), EVERYTHING) == [Answer(JOB, 0, Stage.CHALLENGE, TASK, 0)]
    scene.keep(Stage.CHALLENGE, TASK)
    assert decide(scene.look(), EVERYTHING) == []


def spoil(scene: Scene, stage: Stage, question: int) -> None:
    """Make the revealed outcome differ from what everybody else computes."""
    seal = scene.record.seals[stage, question, 0]
    assert seal.outcome is not None
    seal.outcome = type(seal.outcome)(digest("lie", 1), seal.outcome.cid, seal.outcome.h)


def test_wrong_task_is_challenged_once() -> None:
    scene = scene_in(Phase.GATHER)
    spoil(scene, Stage.WORK, TASK)
    opening = scene.keep(Stage.CHALLENGE, TASK)
    [send] = decide(scene.look(), EVERYTHING)
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("challenge", (JOB, 0, TASK, VERIFIER, opening.hash))
    scene.seal(Stage.CHALLENGE, TASK, provider=address(7))
    assert decide(scene.look(), EVERYTHING) == []


def test_wrong_update_is_challenged() -> None:
    scene = scene_in(Phase.UPDATE_CHALLENGE)
    question = scene.terms.update_question
    scene.seal(Stage.UPDATE, question, provider=COORDINATOR, opened=True)
    assert decide(scene.look(), EVERYTHING) == [Answer(JOB, 0, Stage.UPDATE_CHALLENGE, question, 0)]
    scene.keep(Stage.UPDATE_CHALLENGE, question)
    assert decide(scene.look(), EVERYTHING) == []
    spoil(scene, Stage.UPDATE, question)
    [send] = decide(scene.look(), EVERYTHING)
    assert isinstance(send, Send)
    assert send.function == "challenge"


def test_checked_tasks_and_own_tasks_are_not_looked_at() -> None:
    scene = scene_in(Phase.GATHER)
    scene.seal(Stage.CHECK, TASK, provider=address(8))
    assert decide(scene.look(), EVERYTHING) == []
    own = Scene(phase=Phase.GATHER, provider=VERIFIER)
    own.record.gathered = {seat: (address(1), 0) for seat in range(3)}
    own.seal(Stage.WORK, TASK, provider=VERIFIER, opened=True)
    assert decide(own.look(), EVERYTHING) == []


def test_nothing_is_looked_at_without_slots_or_without_the_wish() -> None:
    scene = scene_in(Phase.GATHER)
    assert decide(scene.look(), Limits()) == []
    scene.provider = address(4242)
    scene.market.verifiers.members.add(scene.provider)
    assert decide(scene.look(), EVERYTHING) == []


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_share_of_what_is_picked(share: float) -> None:
    picked = sum(is_picked(digest("beacon"), VERIFIER, q, share) for q in range(2000))
    assert abs(picked / 2000 - share) < 0.04
