"""Who sat where in a finished round, derived again from its beacons, rosters, claims and passes."""

from collections.abc import Iterator

from protocol.rules import seats
from protocol.rules.draws import drawn_tasks
from protocol.rules.history import JobHistory, MarketHistory, RoundHistory, Seal
from protocol.rules.records import Phase, Stage
from protocol.rules.turns import may_answer


def seated(
    past: JobHistory, round_: RoundHistory, market: MarketHistory
) -> Iterator[tuple[Seal, object]]:
    """Each drawn seal of a round with the provider that chance had put there; None for nobody."""
    terms, roster = past.terms, market.verifiers.at(round_.epoch)
    held: dict[tuple[Stage, int, int], object] = {}
    seed, draw = round_.beacons.get(Phase.SEED), round_.beacons.get(Phase.DRAW)
    if seed is not None:
        for task, owner in enumerate(seats.task_owners(seed, terms.tasks, round_.workers)):
            held[Stage.WORK, task, 0] = round_.claims.get(task, owner)[1]
    if draw is not None:
        held |= _checks(past, round_, draw, roster)
    panel = round_.beacons.get(Phase.VERDICT_DRAW)
    for task in round_.verdicts if panel is not None else ():
        assert panel is not None
        if task < terms.tasks:
            for number, seat in seats.panel_seats(terms, panel, task, round_, roster).items():
                held[Stage.PANEL, task, number] = seat.provider
    update = round_.beacons.get(Phase.UPDATE_DRAW)
    if draw is not None and update is not None:
        for number, found in seats.update_check_seats(terms, draw, update, round_, roster).items():
            place = (Stage.UPDATE_CHECK, terms.update_question, number)
            held[place] = _in_turn(past, round_, place, Phase.UPDATE_CHECK, found)
    update_panel = round_.beacons.get(Phase.UPDATE_VERDICT_DRAW)
    if update_panel is not None:
        jury = seats.update_panel_seats(terms, update_panel, round_, roster)
        for number, seat in jury.items():
            held[Stage.UPDATE_PANEL, terms.update_question, number] = seat.provider
    held[Stage.UPDATE, terms.update_question, 0] = round_.coordinator_provider
    for number, (provider, _) in round_.gathered.items():
        held[Stage.UPDATE, terms.update_question, 1 + number] = provider
    open_to_all = (Stage.CHALLENGE, Stage.UPDATE_CHALLENGE)
    for key, seal in round_.seals.items():
        if seal.stage not in open_to_all:
            yield seal, held.get(key)


def _checks(
    past: JobHistory, round_: RoundHistory, draw: bytes, roster: seats.Roster
) -> dict[tuple[Stage, int, int], object]:
    """Who may have sealed each check: by the first draw or, after it, by the second."""
    terms = past.terms
    sealed = sum(1 << t for t in range(terms.tasks) if round_.seal(Stage.WORK, t))
    drawn = drawn_tasks(draw, sealed, terms.tasks, terms.checks)
    held: dict[tuple[Stage, int, int], object] = {}
    for phase, redraw in ((Phase.CHECK, None), (Phase.RECHECK, round_.beacons.get(Phase.REDRAW))):
        found = seats.check_seats(terms, draw, drawn, round_, roster, redraw)
        for task, candidates in found.items():
            seal = round_.seal(Stage.CHECK, task)
            if seal is not None and _phase_of(round_, seal) == phase:
                place = (Stage.CHECK, task, 0)
                held[place] = _in_turn(past, round_, place, phase, candidates)
    return held


def _phase_of(round_: RoundHistory, seal: Seal) -> Phase:
    """The window in which a check was sealed."""
    second = round_.started.get(Phase.RECHECK)
    return Phase.CHECK if second is None or seal.block < second else Phase.RECHECK


def _in_turn(
    past: JobHistory,
    round_: RoundHistory,
    place: tuple[Stage, int, int],
    phase: Phase,
    candidates: list[seats.Seat],
) -> object:
    """The sealer, if it was a candidate whose turn had come; else the first such candidate."""
    seal = round_.seal(*place)
    if seal is None:
        return None
    turns = may_answer(past.terms, round_, phase, place[1], place[2], seal.block)
    admitted = [seat.provider for seat in candidates if seat.turn in turns]
    return seal.provider if seal.provider in admitted else next(iter(admitted), None)
