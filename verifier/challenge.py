"""Spot checks: recomputing what chance left out, and challenging what is wrong.

Nobody is paid for looking; whoever finds a wrong result and wins the panel gets a share of the
slashed bond. What is looked at follows from the draw, which nobody knew when the work was sealed.
"""

from collections.abc import Iterator

from protocol.role.actions import Action, answer_or_seal
from protocol.role.sight import JobSight, Sight
from protocol.rules.draws import is_picked
from protocol.rules.history import RoundHistory, Seal
from protocol.rules.records import Phase, Stage


def spot_check(sight: Sight, js: JobSight, record: RoundHistory, share: float) -> Iterator[Action]:
    """Recompute `share` of the unchecked tasks and of the updates; challenge what differs."""
    if not share or all(owner != sight.provider for _, owner in js.roster):
        return
    terms = js.past.terms
    if js.round.phase == Phase.GATHER:
        for task in range(terms.tasks):
            work = record.seal(Stage.WORK, task)
            watched = record.seal(Stage.CHECK, task) or record.seal(Stage.CHALLENGE, task)
            if work is not None and watched is None:
                yield from _compare(sight, js, work, Stage.CHALLENGE, share)
    elif js.round.phase == Phase.UPDATE_CHALLENGE:
        question = terms.update_question
        proposal = record.proposal
        if proposal is not None and record.seal(Stage.UPDATE_CHALLENGE, question) is None:
            yield from _compare(sight, js, proposal, Stage.UPDATE_CHALLENGE, share)


def _compare(
    sight: Sight, js: JobSight, claim: Seal, stage: Stage, share: float
) -> Iterator[Action]:
    if claim.provider == sight.provider or claim.outcome is None:
        return
    if not is_picked(js.round.draw, sight.operator, claim.question, share):
        return
    own = sight.openings.get((js.past.job, js.round.number, stage, claim.question, 0))
    if own is not None and own.outcome == claim.outcome:
        return
    action = answer_or_seal(sight, js, stage, claim.question, 0)
    if action is not None:
        yield action
