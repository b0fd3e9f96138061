"""In which order a role acts on what it has decided."""

from protocol.role.actions import Answer, Hold, Prove, Send, most_urgent
from protocol.rules.records import Stage
from tests.support.rounds import JOB

ANSWERS = [Answer(JOB, 0, Stage.WORK, task, 0) for task in range(3)]
SENDS = [Send(f"{task}/open", "open", (JOB, 0, ())) for task in range(2)]
HOLD, PROVE = Hold(JOB, 0, 0), Prove(7)


def test_sending_goes_before_answering_and_fetching_comes_last() -> None:
    actions = [HOLD, ANSWERS[0], SENDS[0], *ANSWERS[1:], PROVE, SENDS[1]]
    assert most_urgent(actions) == [SENDS[0], PROVE, SENDS[1]]
    assert most_urgent([HOLD, *ANSWERS]) == ANSWERS
    assert most_urgent([HOLD]) == [HOLD]
    assert most_urgent([]) == []


def test_all_of_a_kind_go_together() -> None:
    """Deciding anew after each of a thousand actions would be their square."""
    assert most_urgent(ANSWERS * 100) == ANSWERS * 100
