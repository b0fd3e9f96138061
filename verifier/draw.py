"""Deciding what a verifier does next: pure, from one sight.

It enrols, recomputes what it is drawn for, gathers, sits on panels, checks updates, and opens. It
never looks at an opened outcome before it has sealed its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.role.actions import Action, Hold, Send, answer_or_seal, open_due
from protocol.role.sight import JobSight, Sight
from protocol.rules import seats
from protocol.rules.history import RoundHistory
from protocol.rules.records import Phase, Stage, bits
from verifier.challenge import spot_check


@dataclass(frozen=True, slots=True)
class Limits:
    """Inside these the owner lets its verifier act."""

    slots: int = 1
    largest_bond: int = 2**96 - 1
    spot_checks: float = 0.0


def decide(sight: Sight, limits: Limits) -> list[Action]:
    """Everything worth doing now, most urgent first."""
    actions: list[Action] = []
    # One enrolment: a slot that its owner retired is not taken again.
    if sight.provider not in sight.market.verifiers.members:
        actions.append(Send("enrol", "enrol", (sight.provider, limits.slots)))
    for js in sight.jobs.values():
        actions += open_due(sight, js)
        if js.fit and js.past.terms.bond <= limits.largest_bond:
            actions += _duties(sight, js, limits)
    return actions


def _duties(sight: Sight, js: JobSight, limits: Limits) -> Iterator[Action]:
    record = js.open_round
    if record is None or len(js.roster) != js.round.verifiers:
        return  # not everything this round rests on has been read yet
    match js.round.phase:
        case Phase.CHECK:
            yield from _check(sight, js, record)
        case Phase.GATHER:
            yield from _gather(sight, js, record)
            yield from spot_check(sight, js, record, limits.spot_checks)
        case Phase.VERDICT_SEAL:
            yield from _panels(sight, js, record)
        case Phase.UPDATE_CHECK:
            yield from _check_update(sight, js, record)
        case Phase.UPDATE_CHALLENGE:
            yield from spot_check(sight, js, record, limits.spot_checks)
        case Phase.UPDATE_VERDICT_SEAL:
            yield from _update_panel(sight, js, record)


def _check(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    drawn = seats.check_seats(js.past.terms, js.round.draw, js.round.drawn, record, js.roster)
    for task, seat in drawn.items():
        if seat.provider == sight.provider:
            yield from _take(sight, js, Stage.CHECK, task, 0)


def _gather(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    known = sum(
        1 << seal.question
        for seal in record.seals.values()
        if seal.stage == Stage.WORK and seal.outcome is not None
    )
    # The phase is that of the next block, the record that of the last one read: an opening between
    # the two would look as if nobody held its result, and cost an honest worker half its pay.
    if js.round.opened_tasks & ~known:
        return
    for seat in seats.gatherer_seats(js.past.terms, js.round.draw, js.roster):
        if seat.provider == sight.provider and seat.seat not in record.gathered:
            yield Hold(js.past.job, record.number, seat.seat)


def _panels(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    for task in bits(js.round.disputed):
        panel = seats.panel_seats(js.past.terms, js.round.panel_draw, task, record, js.roster)
        for number, seat in panel.items():
            if seat.provider == sight.provider:
                yield from _take(sight, js, Stage.PANEL, task, number)


def _check_update(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    terms = js.past.terms
    held = seats.update_check_seats(terms, js.round.draw, js.round.update_draw, record, js.roster)
    for number, seat in held.items():
        if seat.provider == sight.provider:
            yield from _take(sight, js, Stage.UPDATE_CHECK, terms.update_question, number)


def _update_panel(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    terms = js.past.terms
    panel = seats.update_panel_seats(terms, js.round.update_panel_draw, record, js.roster)
    for number, seat in panel.items():
        if seat.provider == sight.provider:
            yield from _take(sight, js, Stage.UPDATE_PANEL, terms.update_question, number)


def _take(sight: Sight, js: JobSight, stage: Stage, question: int, seat: int) -> Iterator[Action]:
    action = answer_or_seal(sight, js, stage, question, seat)
    if action is not None:
        yield action
