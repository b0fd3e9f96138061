"""Deciding what a coordinator does next: pure, from one sight.

It accepts the job that names it, moves rounds on when nobody else does, and proposes each update.
While it leaves, it begins no proposal: a gatherer can make it, and its own would bind it longer.
"""

from collections.abc import Iterator

from protocol.role.actions import Action, Send, answer_or_seal, move_on, open_due
from protocol.role.sight import JobSight, Sight
from protocol.rules.records import ZERO_ADDRESS, Phase, Stage


def decide(sight: Sight) -> list[Action]:
    """Everything worth doing now, most urgent first."""
    actions: list[Action] = []
    for js in sight.jobs.values():
        if js.past.terms.coordinator != sight.operator:
            continue
        actions += open_due(sight, js)
        actions += move_on(sight, js)
        if js.fit and not sight.leaving:
            actions += _accept(sight, js)
            actions += _propose(sight, js)
    return actions


def _accept(sight: Sight, js: JobSight) -> Iterator[Action]:
    # Once only: a post that was lost to a verdict is not taken again.
    waiting = js.job.coordinator_provider == ZERO_ADDRESS and js.round.phase == Phase.WAITING
    if waiting and not js.past.rounds:
        job = js.past.job
        yield Send(f"{job}/accept", "accept", (job, sight.provider))


def _propose(sight: Sight, js: JobSight) -> Iterator[Action]:
    if js.round.phase != Phase.UPDATE or js.job.coordinator_provider != sight.provider:
        return
    question = js.past.terms.update_question
    action = answer_or_seal(sight, js, Stage.UPDATE, question, 0)
    if action is not None:
        yield action
