"""How many slots of a job this worker can serve, and why not more: pure.

INVARIANT: no slot is joined whose tasks the consumers cannot compute in a round's window, save the
first, which is joined as soon as one task fits: rosters grow, and what it leaves others may claim.
"""

from dataclasses import dataclass
from typing import Final

from protocol.fleet.trials import BEGUN, DONE, FAILED, Facts, Trial
from protocol.rules.amounts import whole
from protocol.rules.records import Terms
from protocol.training.footprint import mib

USABLE: Final = 0.75
"""Share of Commit that may be spent computing: results are published and sealed in the rest."""
MOST_LOST: Final = 2
"""So many consumers may end over a job's trial before it is taken for what ended them."""


@dataclass(frozen=True, slots=True)
class Room:
    """Slots to join a job with; where there are none, `reason` says why."""

    slots: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A job as a newcomer finds it: slots of others, the least bytes of a task, free bond."""

    terms: Terms
    others: int
    floor: int
    free_bond: int


def room(
    place: Place,
    consumers: list[Facts],
    trials: list[Trial],
    block_seconds: float | None,
    most: int | None = None,
) -> Room:
    """Slots to join with, at most `most`; `block_seconds` is None before it could be measured."""
    able = [c for c in consumers if c.free >= place.floor]
    refusal = _refusal(place, consumers, able, trials)
    if refusal:
        return Room(0, refusal)
    here = {c.name for c in able}
    done = [t for t in trials if t.consumer in here and t.state == DONE]
    fitting = [t for t in done if t.peak <= _free(consumers, t.consumer)]
    if len(done) < len(here) and not _given_up(trials, here):
        return Room(0, "its consumers are trying a task")
    if not fitting:
        return Room(0, _why_none(trials, done))
    if block_seconds is None:
        return Room(0, "it is not known yet how fast blocks come")
    window = USABLE * place.terms.windows.commit * block_seconds
    tasks = sum(int(window / max(t.seconds, 1e-3)) for t in fitting)
    if not tasks:
        fastest = min(t.seconds for t in fitting)
        share = f"{100 * USABLE:.0f} % of the window"
        return Room(0, f"a task takes {fastest:.1f} s here, {share} is {window:.1f} s")
    return Room(_served(place, tasks, most))


def _refusal(place: Place, consumers: list[Facts], able: list[Facts], trials: list[Trial]) -> str:
    if place.free_bond < place.terms.bond:
        bond, free = whole(place.terms.bond), whole(place.free_bond)
        return f"a slot locks {bond} tokens, {free} may be locked"
    if not consumers:
        return "nobody computes for this queue"
    if not able:
        most = max(c.free for c in consumers)
        return f"a task needs at least {mib(place.floor)}, and {mib(most)} can be had here"
    there = {c.name for c in consumers}
    lost = sum(t.state == BEGUN and t.consumer not in there for t in trials)
    if lost >= MOST_LOST:
        return f"{lost} consumers ended while they tried a task"
    return ""


def _served(place: Place, tasks: int, most: int | None) -> int:
    """The most slots whose tasks fit into the window and whose bonds are free; one at least."""
    terms = place.terms
    slots, wished = 1, max(terms.tasks, terms.min_workers) - place.others
    for wanted in range(2, min(most or wished, wished) + 1):
        roster = max(place.others + wanted, terms.min_workers)
        due = min(wanted * -(-terms.tasks // roster), terms.tasks)
        # Each slot holds one bond, each of its tasks but the first locks one more.
        bonds = max(due, wanted)
        # One more slot may make each slot's share smaller: the largest that fits counts.
        if due <= tasks and bonds * terms.bond <= place.free_bond:
            slots = wanted
    return slots


def _free(consumers: list[Facts], name: str) -> int:
    return next(c.free for c in consumers if c.name == name)


def _given_up(trials: list[Trial], here: set[str]) -> bool:
    """Whether everybody that is here has ended its trial, well or not."""
    ended = {t.consumer for t in trials if t.state in (DONE, FAILED)}
    return here <= ended


def _why_none(trials: list[Trial], done: list[Trial]) -> str:
    failed = next((t.error for t in trials if t.state == FAILED), "")
    if failed or not done:
        return f"a task could not be computed: {failed}"
    return f"a task took {mib(min(t.peak for t in done))}, more than can be had here now"
