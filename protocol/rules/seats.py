"""Who sits where: every draw of a round, from its beacons, its rosters and its seals.

Questions are numbered by task; the update is question `tasks`. A provider's slots never judge its
own work: such candidates are passed over. Mirrors contracts/src/market/ and serves roles and
auditors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocol.rules import draws
from protocol.rules.history import RoundHistory
from protocol.rules.records import Address, Slot, Stage, Terms
from protocol.rules.turns import TURNS

Roster = Sequence[tuple[Slot, Address]]


@dataclass(frozen=True, slots=True)
class Seat:
    """One candidate of a drawn seat: `seat` counts within its question and purpose."""

    question: int
    seat: int
    slot: Slot
    provider: Address
    turn: int = 0


def task_owners(seed: bytes, tasks: int, workers: Roster) -> list[tuple[Slot, Address]]:
    """Slot and provider that each task belongs to, by task."""
    return [workers[index] for index in draws.task_order(seed, tasks, len(workers))]


def check_seats(
    terms: Terms,
    draw: bytes,
    drawn: int,
    round_: RoundHistory,
    roster: Roster,
    redraw: bytes | None = None,
) -> dict[int, list[Seat]]:
    """Candidates of the check of each drawn task, in order of their turns.

    `redraw` is the second draw's beacon, for the checks that the first one left unanswered. A task
    whose seal the history does not hold yet is absent: its worker must not check it.
    """
    seed = draws.draw_seed(redraw or draw, Stage.CHECK, 0)
    total = terms.checks + terms.gatherers
    found = {}
    for task in range(terms.tasks):
        if not drawn >> task & 1:
            continue
        number = draws.check_seat_of_task(draw, task, terms.tasks, terms.checks)
        assert number is not None
        work = round_.seal(Stage.WORK, task)
        if work is not None:
            at = (seed, number, total)
            found[task] = _candidates(at, task, 0, roster, _not_of({work.provider}), TURNS)
    return found


def gatherer_seats(terms: Terms, draw: bytes, roster: Roster) -> list[Seat]:
    """Holders of the gatherer seats, by seat."""
    seed = draws.draw_seed(draw, Stage.CHECK, 0)
    total = terms.checks + terms.gatherers
    found = []
    for seat in range(terms.gatherers):
        at = (seed, terms.checks + seat, total)
        found += _candidates(at, terms.update_question, seat, roster, _not_of(set()))
    assert len(found) == terms.gatherers, "min_verifiers covers every seat"
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
) -> dict[int, list[Seat]]:
    """Checkers of the update: gatherers that posted at seats 0 .. G-1, two drawn at G and G+1.

    Gatherers have their seats to themselves; the drawn seats have candidates in turn.
    """
    question = terms.update_question
    proposer = _proposer(round_)
    gatherers = gatherer_seats(terms, draw, roster)
    found = {g.seat: [g] for g in gatherers if g.seat in round_.gathered and g.provider != proposer}
    taken = {g.slot for g in gatherers}
    seed = draws.draw_seed(update_draw, Stage.UPDATE_CHECK, question)
    for extra in range(2):
        seat = terms.gatherers + extra
        drawn = _candidates(
            (seed, extra, 2),
            question,
            seat,
            roster,
            lambda slot, provider: slot not in taken and provider != proposer,
            TURNS,
        )
        if drawn:
            found[seat] = drawn
    return found


def update_panel_seats(
    terms: Terms, update_panel_draw: bytes, round_: RoundHistory, roster: Roster
) -> dict[int, Seat]:
    """Holders of the panel on the update, by seat; who checked may vote, the two sides may not."""
    question = terms.update_question
    challenges = round_.seals_of(Stage.UPDATE_CHALLENGE, question)
    barred = {_proposer(round_), *(seal.provider for seal in challenges)}
    seed = draws.draw_seed(update_panel_draw, Stage.UPDATE_PANEL, question)
    return _panel(terms, seed, question, roster, barred)


def _panel(
    terms: Terms, seed: bytes, question: int, roster: Roster, barred: set[Address]
) -> dict[int, Seat]:
    found = {}
    for number in range(terms.panel):
        at = (seed, number, terms.panel)
        for seat in _candidates(at, question, number, roster, _not_of(barred)):
            found[number] = seat
    return found


def _candidates(
    at: tuple[bytes, int, int],
    question: int,
    seat: int,
    roster: Roster,
    eligible: Callable[[Slot, Address], bool],
    turns: int = 1,
) -> list[Seat]:
    """The first eligible candidates of place `at`: seed, number and count of the draw's places."""
    seed, number, count = at
    positions = draws.holders(
        seed, number, count, len(roster), lambda p: eligible(*roster[p]), turns
    )
    return [Seat(question, seat, *roster[p], turn) for turn, p in enumerate(positions)]


def _not_of(barred: set[Address]) -> Callable[[Slot, Address], bool]:
    return lambda _, provider: provider not in barred


def _proposer(round_: RoundHistory) -> Address:
    """Whoever proposed the update: its checks and its panel are other people's."""
    assert round_.proposal is not None, "an update is checked after it was proposed"
    return round_.proposal.provider
