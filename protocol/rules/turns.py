"""Whose turn it is: candidates of a check follow each other, gatherers follow a late coordinator.

A turn only ever adds somebody who may act; whoever had one and did not pass keeps it until the
window is over. Mirrors contracts/src/libraries/Seats.sol and Succession.sol; times are blocks.
"""

from typing import Final

from protocol.rules.history import RoundHistory
from protocol.rules.records import Phase, Terms

TURNS: Final = 4
"""Candidates of one check that may be asked in one window."""

CHECKS: Final = (Phase.CHECK, Phase.RECHECK)
"""The windows in which tasks are checked: by the first draw, and by the second."""


def turn_at(block: int, start: int, window: int, passes: int) -> int:
    """Number of the latest candidate whose turn has come: each quarter, each pass is a step."""
    return min(TURNS * (block - start) // window + passes, TURNS - 1)


def check_window(terms: Terms, phase: Phase) -> int:
    """Length of the window in which a phase's checks are sealed."""
    return terms.windows.check if phase in CHECKS else terms.windows.update_check


def may_answer(
    terms: Terms, round_: RoundHistory, phase: Phase, question: int, seat: int, block: int
) -> set[int]:
    """The turns of a check's seat that may be answered in `block` of `phase`."""
    if phase == Phase.UPDATE_CHECK and seat < terms.gatherers:
        return {0}
    passed = round_.passed.get((phase, question, seat), {})
    before = {turn for turn, at in passed.items() if at <= block}
    start = round_.started[phase]
    current = turn_at(block, start, check_window(terms, phase), len(before))
    return set(range(current + 1)) - before


def claims_from(terms: Terms, deadline: int) -> int:
    """First block of Commit's second half, in which unserved tasks may be claimed."""
    return deadline - terms.windows.commit // 2


def succession_from(terms: Terms, round_: RoundHistory, seat: int, start: int) -> int:
    """First block in which the gatherer of `seat` may propose in the coordinator's place."""
    before = sum(other < seat for other in round_.gathered)
    return start + terms.windows.update * before // len(round_.gathered)
