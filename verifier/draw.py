"""Deciding what a verifier does next: pure, from one sight.

It enrols, recomputes what it is drawn for, gathers, sits on panels, checks updates, proposes one in
a late coordinator's place, and opens. It never looks at an opened outcome before it has sealed its
own, and passes what is outside its owner's limits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.role.actions import Action, Hold, Send, answer_or_seal, move_on, open_due
from protocol.role.sight import JobSight, Sight
from protocol.rules import seats
from protocol.rules.history import RoundHistory
from protocol.rules.records import Phase, Stage, bits
from protocol.rules.turns import CHECKS, may_answer, succession_from
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
    if sight.provider not in sight.market.verifiers.members and not sight.leaving:
        actions.append(Send("enrol", "enrol", (sight.provider, limits.slots)))
    for js in sight.jobs.values():
        actions += open_due(sight, js)
        actions += move_on(sight, js)
        record = js.open_round
        if record is None or len(js.roster) != js.round.verifiers:
            continue  # not everything this round rests on has been read yet
        fit = js.fit and js.past.terms.bond <= limits.largest_bond
        if fit and not sight.leaving:
            actions += _duties(sight, js, record, limits)
        elif js.fit is not None or sight.leaving:
            actions += _pass(sight, js, record)
        if fit:
            actions += _exclusive(sight, js, record)
    return actions


def _duties(sight: Sight, js: JobSight, record: RoundHistory, limits: Limits) -> Iterator[Action]:
    match js.round.phase:
        case Phase.CHECK | Phase.RECHECK | Phase.UPDATE_CHECK:
            for stage, seat in _turns(sight, js, record):
                if not _is_own_gathering(js, stage, seat):
                    yield from _take(sight, js, stage, seat.question, seat.seat, seat.turn)
        case Phase.GATHER:
            yield from _gather(sight, js, record)
            yield from spot_check(sight, js, record, limits.spot_checks)
        case Phase.SUCCESSION:
            if js.past.terms.coordinator_bond <= limits.largest_bond:
                yield from _succeed(sight, js, record)
        case Phase.UPDATE_CHALLENGE:
            yield from spot_check(sight, js, record, limits.spot_checks)


def _exclusive(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    """Seats that nobody else can take, once this verifier has them: also while it leaves."""
    for stage, seat in _turns(sight, js, record):
        if _is_own_gathering(js, stage, seat):
            yield from _take(sight, js, stage, seat.question, seat.seat)
    for stage, question, number in panels(sight, js, record):
        yield from _take(sight, js, stage, question, number)


def _pass(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    """Hand on what this verifier will not check, so that the next candidate need not wait."""
    for stage, seat in _turns(sight, js, record):
        sealed = record.seal(stage, seat.question, seat.seat) is not None
        if sealed or _is_own_gathering(js, stage, seat):
            continue
        place = (int(stage), seat.question, seat.seat, seat.turn)
        where = (js.past.job, record.number, int(js.round.phase), *place)
        key = "/".join(str(part) for part in (*where, "pass"))
        yield Send(key, "pass", (js.past.job, record.number, *place))


def _is_own_gathering(js: JobSight, stage: Stage, seat: seats.Seat) -> bool:
    """Whether a seat is the check of the update that comes with gathering."""
    return stage == Stage.UPDATE_CHECK and seat.seat < js.past.terms.gatherers


def _turns(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[tuple[Stage, seats.Seat]]:
    """Own candidates of checks whose turn has come, in whichever window of checks is open."""
    terms, now, phase = js.past.terms, js.round, js.round.phase
    if phase != record.phase:
        return  # its beginning has not been read yet
    if phase in CHECKS:
        stage = Stage.CHECK
        redraw = now.redraw if phase == Phase.RECHECK else None
        open_tasks = now.drawn & ~now.answered
        found = seats.check_seats(terms, now.draw, open_tasks, record, js.roster, redraw)
    elif phase == Phase.UPDATE_CHECK and record.proposal is not None:
        stage = Stage.UPDATE_CHECK
        found = seats.update_check_seats(terms, now.draw, now.update_draw, record, js.roster)
    else:
        return
    for candidates in found.values():
        for seat in candidates:
            if seat.provider == sight.provider:
                turns = may_answer(terms, record, phase, seat.question, seat.seat, sight.now)
                if seat.turn in turns:
                    yield stage, seat


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


def panels(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[tuple[Stage, int, int]]:
    """Own seats on the panels that vote now: stage, question, seat."""
    terms = js.past.terms
    if js.round.phase == Phase.VERDICT_SEAL:
        stage, questions = Stage.PANEL, bits(js.round.disputed)
    elif js.round.phase == Phase.UPDATE_VERDICT_SEAL and record.proposal is not None:
        stage, questions = Stage.UPDATE_PANEL, [terms.update_question]
    else:
        return
    for question in questions:
        if stage == Stage.PANEL:
            draw = js.round.panel_draw
            panel = seats.panel_seats(terms, draw, question, record, js.roster)
        else:
            draw = js.round.update_panel_draw
            panel = seats.update_panel_seats(terms, draw, record, js.roster)
        for number, seat in panel.items():
            if seat.provider == sight.provider:
                yield stage, question, number


def _succeed(sight: Sight, js: JobSight, record: RoundHistory) -> Iterator[Action]:
    """Propose in a late coordinator's place, where this gatherer's turn has come."""
    terms = js.past.terms
    start = js.round.deadline - terms.windows.update
    for seat, (provider, _) in record.gathered.items():
        if provider != sight.provider or record.proposal is not None:
            continue
        if sight.now >= succession_from(terms, record, seat, start):
            yield from _take(sight, js, Stage.UPDATE, terms.update_question, 1 + seat)


def _take(
    sight: Sight, js: JobSight, stage: Stage, question: int, seat: int, turn: int = 0
) -> Iterator[Action]:
    action = answer_or_seal(sight, js, stage, question, seat, turn)
    if action is not None:
        yield action
