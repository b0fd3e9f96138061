"""The transition function: where a round goes next, from facts alone.

Pure and total; time is a fact like any other. The contract asks the same function
(contracts/src/libraries/Phases.sol) before and after every call; golden vectors run through both.
"""

from dataclasses import dataclass

from protocol.rules.records import Phase


@dataclass(frozen=True, slots=True)
class Facts:
    """What a transition may depend on. A window is over in the block that its deadline names."""

    now_block: int = 0
    deadline: int = 0
    beacon_ready: bool = False
    can_open: bool = False  # coordinator accepted, rosters suffice, rounds left, not stopped
    ended: bool = False  # all rounds done, stopped, or too many failed in a row
    pending: int = 0  # things the phase still waits for
    any_sealed: bool = False
    any_drawn: bool = False
    any_unanswered: bool = False
    too_many_unanswered: bool = False  # more than a third of the checks
    any_disputed: bool = False
    updatable: bool = False  # something is included and there is a coordinator
    proposed: bool = False
    any_successor: bool = False  # a gatherer that may propose in the coordinator's place
    checkers_answered: bool = False  # at least one of the two drawn
    update_disputed: bool = False
    update_challenged: bool = False
    settled: bool = False


BEACONS: dict[Phase, Phase] = {
    Phase.SEED: Phase.COMMIT,
    Phase.REDRAW: Phase.RECHECK,
    Phase.VERDICT_DRAW: Phase.VERDICT_SEAL,
    Phase.UPDATE_DRAW: Phase.UPDATE_CHECK,
    Phase.UPDATE_VERDICT_DRAW: Phase.UPDATE_VERDICT_SEAL,
}
"""Phases that wait for chance and nothing else."""

PROPOSALS = (Phase.UPDATE, Phase.SUCCESSION)
"""These end with the proposal, or at their deadline."""

CHALLENGE_WINDOWS = (Phase.GATHER, Phase.UPDATE_CHALLENGE)
"""These run to their deadline: whoever wants to object gets the whole window."""


def next_phase(phase: Phase, facts: Facts) -> Phase:
    """The phase that follows, or `phase` itself where it must wait."""
    if phase in BEACONS:
        return BEACONS[phase] if facts.beacon_ready else phase
    if phase == Phase.DRAW:
        if not facts.beacon_ready:
            return phase
        return Phase.CHECK if facts.any_drawn else Phase.REVEAL
    if phase == Phase.WAITING:
        if facts.ended:
            return Phase.ENDED
        return Phase.SEED if facts.can_open else phase
    if phase == Phase.FINALISE:
        if not facts.settled:
            return phase
        return Phase.ENDED if facts.ended else Phase.WAITING
    if phase in PROPOSALS and facts.proposed:
        return Phase.UPDATE_DRAW
    return _after_window(phase, facts) if _is_over(phase, facts) else phase


def _is_over(phase: Phase, facts: Facts) -> bool:
    over = facts.now_block >= facts.deadline
    if phase in CHALLENGE_WINDOWS or phase in PROPOSALS:
        return over
    return over or facts.pending == 0


def _after_window(phase: Phase, facts: Facts) -> Phase:
    update = Phase.UPDATE if facts.updatable else Phase.FINALISE
    panel = Phase.UPDATE_VERDICT_DRAW
    return {
        Phase.COMMIT: Phase.DRAW if facts.any_sealed else Phase.FINALISE,
        Phase.CHECK: Phase.REDRAW if facts.any_unanswered else Phase.REVEAL,
        Phase.RECHECK: Phase.FINALISE if facts.too_many_unanswered else Phase.REVEAL,
        Phase.REVEAL: Phase.GATHER,
        Phase.GATHER: Phase.VERDICT_DRAW if facts.any_disputed else update,
        Phase.VERDICT_SEAL: Phase.VERDICT_OPEN,
        Phase.VERDICT_OPEN: update,
        Phase.UPDATE: Phase.SUCCESSION if facts.any_successor else Phase.FINALISE,
        Phase.SUCCESSION: Phase.FINALISE,
        Phase.UPDATE_CHECK: Phase.UPDATE_OPEN if facts.checkers_answered else Phase.FINALISE,
        Phase.UPDATE_OPEN: panel if facts.update_disputed else Phase.UPDATE_CHALLENGE,
        Phase.UPDATE_CHALLENGE: panel if facts.update_challenged else Phase.FINALISE,
        Phase.UPDATE_VERDICT_SEAL: Phase.UPDATE_VERDICT_OPEN,
        Phase.UPDATE_VERDICT_OPEN: Phase.FINALISE,
    }.get(phase, phase)
