"""What a verifier that leaves still waits for: pure, from one sight.

Its place in the rosters stays: a verifier that comes back goes on. Until then its checks are passed
to the next candidate.
"""

from collections.abc import Iterator

from protocol.role.leaving import place, unopened
from protocol.role.sight import JobSight, Sight
from protocol.rules.records import Phase, Stage
from verifier.draw import panels


def unfinished(sight: Sight) -> list[str]:
    """Everything that it would pay for dropping, in words."""
    found = unopened(sight)
    for js in sight.jobs.values():
        found += _unvoted(sight, js)
        found += _unchecked(sight, js)
    return found


def _unvoted(sight: Sight, js: JobSight) -> Iterator[str]:
    record = js.open_round
    if record is None or not js.fit or len(js.roster) != js.round.verifiers:
        return
    for stage, question, seat in panels(sight, js, record):
        if record.seal(stage, question, seat) is None:
            yield f"to vote on question {question} of {place(record, js)}"


def _unchecked(sight: Sight, js: JobSight) -> Iterator[str]:
    """The update of a round that it gathered for: gathering is paid with that check."""
    record = js.open_round
    if record is None or not js.fit or js.round.phase > Phase.UPDATE_CHECK:
        return
    if record.proposal is not None and record.proposal.provider == sight.provider:
        return
    question = js.past.terms.update_question
    for seat, (provider, _) in record.gathered.items():
        checked = record.seal(Stage.UPDATE_CHECK, question, seat) is not None
        if provider == sight.provider and not checked:
            yield f"to check the update of {place(record, js)}"
