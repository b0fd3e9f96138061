"""What `decide` may ask for, and the small decisions that every role shares.

Seals of one worker slot, and openings of one key, travel together: a transaction costs more than
what it carries. A batch that is refused goes out part by part, so that one bad part holds up no
other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from protocol.role.openings import Key, Opening
from protocol.role.sight import JobSight, Sight
from protocol.rules.history import RoundHistory, Seal
from protocol.rules.records import JobId, Phase, Stage, bits


@dataclass(frozen=True, slots=True)
class Answer:
    """Have a question computed and its result published, keep the opening. Nothing is sent yet."""

    job: JobId
    round: int
    stage: Stage
    question: int
    seat: int

    @property
    def key(self) -> Key:
        """Which seat it is for."""
        return (self.job, self.round, self.stage, self.question, self.seat)


@dataclass(frozen=True, slots=True)
class Hold:
    """Fetch every revealed result whole and post which ones are there."""

    job: JobId
    round: int
    seat: int


@dataclass(frozen=True, slots=True)
class Send:
    """Call the market; `key` makes it happen once. A batch knows the calls that it stands for."""

    key: str
    function: str
    args: tuple[Any, ...]
    parts: tuple["Send", ...] = ()


@dataclass(frozen=True, slots=True)
class Prove:
    """Show the market's beacon the header of a block."""

    block: int


Action = Answer | Hold | Send | Prove

URGENCY = {Send: 0, Prove: 0, Answer: 1, Hold: 2}
"""What only needs sending goes first, and fetching last: it may outlast a window."""
BATCHED = ("sealTasks", "open")
"""Functions whose last argument is a list of parts."""
MOST_TOGETHER = 100
"""Parts of one batch: 4,200,000 gas for seals, a quarter of what one transaction may take."""

OPENS_IN = {
    Stage.WORK: Phase.REVEAL,
    Stage.CHECK: Phase.REVEAL,
    Stage.CHALLENGE: Phase.VERDICT_OPEN,
    Stage.PANEL: Phase.VERDICT_OPEN,
    Stage.UPDATE: Phase.UPDATE_OPEN,
    Stage.UPDATE_CHECK: Phase.UPDATE_OPEN,
    Stage.UPDATE_CHALLENGE: Phase.UPDATE_VERDICT_OPEN,
    Stage.UPDATE_PANEL: Phase.UPDATE_VERDICT_OPEN,
}
"""The phase in which seals of each stage are opened."""
OPENING = frozenset(OPENS_IN.values())


def answer_or_seal(
    sight: Sight, js: JobSight, stage: Stage, question: int, seat: int, place: int = 0
) -> Action | None:
    """Take a seat: compute first, seal once the opening is safe on disk; None where it is done.

    `place` is the worker's slot, or the turn of a check.
    """
    job, number = js.past.job, js.round.number
    record = js.open_round
    if record is None or record.seal(stage, question, seat) is not None:
        return None
    if stage == Stage.WORK and js.round.sealed_tasks >> question & 1:
        return None  # on its way: the pending block has it
    opening = sight.openings.get((job, number, stage, question, seat))
    if opening is None:
        computable = question != js.past.terms.update_question or _has_read_update(js, record)
        return Answer(job, number, stage, question, seat) if computable else None
    function, args = _seal_call(opening, sight, place)
    return Send(_key(opening, "seal"), function, (job, number, *args))


def _has_read_update(js: JobSight, record: RoundHistory) -> bool:
    """Whether all that an update is made of has been read.

    The bitmap is that of the next block, the record that of the last one read.
    """
    works = (record.seal(Stage.WORK, task) for task in bits(js.round.included))
    return all(work is not None and work.outcome is not None for work in works)


def most_urgent(actions: Iterable[Action]) -> list[Action]:
    """Those that come before all others; after them there may be more of their kind."""
    groups: dict[int, list[Action]] = {}
    for action in actions:
        groups.setdefault(URGENCY[type(action)], []).append(action)
    return groups[min(groups)] if groups else []


def open_due(sight: Sight, js: JobSight) -> Iterator[Send]:
    """Open every own seal that may be opened now."""
    yield from together(_openings_due(sight, js))


def together(sends: Iterable[Send]) -> Iterator[Send]:
    """The same calls in as few transactions as they fit in; what takes no batch stays alone."""
    groups: dict[tuple[Any, ...], list[Send]] = {}
    for send in sends:
        alone = send.key if send.function not in BATCHED else ""
        groups.setdefault((send.function, *send.args[:-1], alone), []).append(send)
    for parts in groups.values():
        for first in range(0, len(parts), MOST_TOGETHER):
            yield _batch(parts[first : first + MOST_TOGETHER])


def _batch(parts: list[Send]) -> Send:
    if len(parts) == 1:
        return parts[0]
    function, *where = parts[0].function, *parts[0].args[:-1]
    named = keccak("|".join(part.key for part in parts).encode()).hex()[:16]
    return Send(
        key=f"{batch_prefix(function, where)}{named}",
        function=function,
        args=(*where, tuple(item for part in parts for item in part.args[-1])),
        parts=tuple(parts),
    )


def batch_prefix(function: str, where: Iterable[Any]) -> str:
    """How the keys of all batches of one function in one place begin."""
    return f"{function}/{'/'.join(str(int(part)) for part in where)}/"


def _openings_due(sight: Sight, js: JobSight) -> Iterator[Send]:
    record = js.open_round
    if record is None or js.round.phase not in OPENING:
        return
    on_their_way = {Stage.WORK: js.round.opened_tasks, Stage.CHECK: js.round.opened_checks}
    released = js.round.drawn & ~js.round.answered
    for seal in record.seals.values():
        if not _is_mine(sight, seal) or seal.outcome is not None:
            continue
        opening = sight.openings.get(
            (js.past.job, record.number, seal.stage, seal.question, seal.seat)
        )
        if opening is None or opening.hash != seal.hash:
            continue
        if OPENS_IN[seal.stage] != js.round.phase:
            continue
        if seal.stage == Stage.WORK and released >> seal.question & 1:
            continue
        if on_their_way.get(seal.stage, 0) >> seal.question & 1:
            continue
        yield _open_call(opening)


def move_on(sight: Sight, js: JobSight) -> Iterator[Action]:
    """Show the chain what it waits for, and move the round on, where that is due."""
    if js.proof_due:
        yield Prove(js.proof_due)
    # An expired wait for rosters, or a beacon too old to be read, moves no phase but needs a call.
    if js.advance_due:
        job = js.past.job
        yield Send(f"{job}/advance/{sight.now}", "advance", (job,))


def _is_mine(sight: Sight, seal: Seal) -> bool:
    return seal.provider == sight.provider


def _key(opening: Opening, verb: str) -> str:
    return "/".join([*(str(int(part)) for part in opening.key), verb])


def _seal_call(opening: Opening, sight: Sight, place: int) -> tuple[str, tuple[Any, ...]]:
    question, seat, sealed = opening.question, opening.seat, opening.hash
    match opening.stage:
        case Stage.WORK:
            return "sealTasks", (place, ((question, sealed),))
        case Stage.CHECK:
            return "sealCheck", (question, place, sealed)
        case Stage.UPDATE if seat == 0:
            return "sealUpdate", (sealed,)
        case Stage.UPDATE:
            return "sealSuccession", (seat - 1, sealed)
        case Stage.UPDATE_CHECK:
            return "sealUpdateCheck", (seat, place, sealed)
        case Stage.PANEL | Stage.UPDATE_PANEL:
            return "sealPanel", (question, seat, sealed)
        case Stage.CHALLENGE | Stage.UPDATE_CHALLENGE:
            return "challenge", (question, sight.provider, sealed)


def _open_call(opening: Opening) -> Send:
    where = (opening.job, opening.round)
    if opening.stage in (Stage.PANEL, Stage.UPDATE_PANEL):
        vote = (opening.root, opening.cid, opening.witness, opening.salt)
        args: tuple[Any, ...] = (*where, opening.question, opening.seat, *vote)
        return Send(_key(opening, "open"), "openPanel", args)
    return Send(_key(opening, "open"), "open", (*where, (opening.shown,)))
