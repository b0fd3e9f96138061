"""A gatherer speaks only when it has read every opening that counts."""

from protocol.role.actions import Hold
from protocol.rules.records import Phase, Stage
from tests.support.rounds import address
from tests.support.sights import VERIFIERS, Scene
from verifier.draw import Limits, decide


def holds(scene: Scene) -> list[Hold]:
    """What all verifiers together would post."""
    found: list[Hold] = []
    for _, provider in VERIFIERS:
        scene.provider = provider
        found += [action for action in decide(scene.look(), Limits()) if isinstance(action, Hold)]
    return found


def test_gatherer_waitsForTheLastOpening() -> None:
    """The next block already gathers, while the opening that ended the reveal is not yet read."""
    scene = Scene(phase=Phase.GATHER, round_fields={"opened_tasks": 0b1111})
    for task in range(4):
        scene.seal(Stage.WORK, task, provider=address(1001), opened=task != 3)
    assert holds(scene) == []
    scene.seal(Stage.WORK, 3, provider=address(1001), opened=True)
    assert len(holds(scene)) == scene.terms.gatherers
