"""Who sits where: every draw of a round, from its beacons, its rosters and its seals.

Questions are numbered by task; the update is question `tasks`. A provider's slots never judge its
own work: such candidates are passed over. Mirrors contracts/src/market/ and serves roles and
auditors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.rules import draws
from protocol.rules.history import RoundHistory
from protocol.rules.records import Address, Slot, Stage, Terms

Roster = Sequence[tuple[Slot, Address]]


@dataclass(frozen=True, slots=True)
class Seat:
    """One drawn seat: `seat` counts within its question and purpose."""

    question: int
    seat: int
    slot: Slot
    provider: Address


def task_owners(seed: bytes, tasks: int, workers: Roster) -> list[tuple[Slot, Address]]:
    """Slot and provider that each task belongs to, by task."""
    return [workers[draws.roster_index_of_task(seed, task, len(workers))] for task in range(tasks)]


def _hold(
    seed: bytes, question: int, seat: int, seats: int, roster: Roster, barred: set[Address]
) -> Seat | None:
    position = draws.holder(seed, seat, seats, len(roster), lambda p: roster[p][1] not in barred)
    if position is None:
        return None
    slot, provider = roster[position]
    return Seat(question, seat, slot, provider)


def check_seats(
    terms: Terms, draw: bytes, drawn: int, round_: RoundHistory, roster: Roster
) -> dict[int, Seat]:
    """Holder of the check of each drawn task; a task without an eligible verifier is absent.

    So is one whose seal the history does not hold yet: its worker must not check it.
    """
    seed = draws.draw_seed(draw, Stage.CHECK, 0)
    total = terms.checks + terms.gatherers
    found = {}
    for task in range(terms.tasks):
        if not drawn >> task & 1:
            continue
        number = draws.check_seat_of_task(draw, task, terms.tasks, terms.checks)
        assert number is not None
        work = round_.seal(Stage.WORK, task)
        if work is None:
            continue
        seat = _hold(seed, task, number, total, roster, {work.provider})
        if seat is not None:
            found[task] = seat
    return found


def gatherer_seats(terms: Terms, draw: bytes, roster: Roster) -> list[Seat]:
    """Holders of the gatherer seats, by seat."""
    seed = draws.draw_seed(draw, Stage.CHECK, 0)
    total = terms.checks + terms.gatherers
    found = []
    for seat in range(terms.gatherers):
        held = _hold(seed, terms.update_question, terms.checks + seat, total, roster, set())
        assert held is not None, "min_verifiers covers every seat"
        found.append(Seat(held.question, seat, held.slot, held.provider))
    return found


def panel_seats(
    terms: Terms, panel_draw: bytes, task: int, round_: RoundHistory, roster: Roster
) -> dict[int, Seat]:
    """Holders of the panel on a task, by seat; accuser and accused do not vote."""
    barred = {
        seal.provider
        for stage in (Stage.WORK, Stage.CHECK, Stage.CHALLENGE)
        for seal in round_.seals_of(stage, task)
    }
    seed = draws.draw_seed(panel_draw, Stage.PANEL, task)
    return _panel(terms, seed, task, roster, barred)


def update_check_seats(
    terms: Terms, draw: bytes, update_draw: bytes, round_: RoundHistory, roster: Roster
) -> dict[int, Seat]:
    """Checkers of the update: gatherers that posted at seats 0 .. G-1, two drawn at G and G+1."""
    question = terms.update_question
    gatherers = gatherer_seats(terms, draw, roster)
    found = {g.seat: g for g in gatherers if g.seat in round_.gathered}
    taken = {g.slot for g in gatherers}
    seed = draws.draw_seed(update_draw, Stage.UPDATE_CHECK, question)
    for extra in range(2):
        position = draws.holder(
            seed,
            extra,
            2,
            len(roster),
            lambda p: roster[p][0] not in taken and roster[p][1] != round_.coordinator_provider,
        )
        if position is not None:
            slot, provider = roster[position]
            found[terms.gatherers + extra] = Seat(question, terms.gatherers + extra, slot, provider)
    return found


def update_panel_seats(
    terms: Terms, update_panel_draw: bytes, round_: RoundHistory, roster: Roster
) -> dict[int, Seat]:
    """Holders of the panel on the update, by seat."""
    question = terms.update_question
    barred = {round_.coordinator_provider}
    for stage in (Stage.UPDATE_CHECK, Stage.UPDATE_CHALLENGE):
        barred |= {seal.provider for seal in round_.seals_of(stage, question)}
    seed = draws.draw_seed(update_panel_draw, Stage.UPDATE_PANEL, question)
    return _panel(terms, seed, question, roster, barred)


def _panel(
    terms: Terms, seed: bytes, question: int, roster: Roster, barred: set[Address]
) -> dict[int, Seat]:
    held = (_hold(seed, question, seat, terms.panel, roster, barred) for seat in range(terms.panel))
    return {seat.seat: seat for seat in held if seat is not None}
