"""Golden vectors: what Python and Solidity must both compute, in one file of flat numbers.

    python -m tests.rules.make_vectors

writes tests/rules/vectors.json and its twin under contracts/test/vectors, which forge may read.
Every list is flat, in rows of fixed length (named beside it), so that both sides read it with a
loop; hashes and addresses are hex words. The file changes only together with the protocol.
"""

import dataclasses
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from protocol.rules import draws
from protocol.rules.economics import required_escrow, smallest_bond, smallest_coordinator_bond
from protocol.rules.phases import Facts, next_phase
from protocol.rules.records import Address, JobId, Outcome, Phase, Stage
from protocol.rules.sealing import SealContext, outcome_hash, seal, witness_hash
from protocol.rules.settlement import settle
from tests.support.rounds import (
    FALSE,
    NONFINITE,
    NOTHING,
    OTHER,
    TRUE,
    UNOPENED,
    RoundCase,
    TaskCase,
    UpdateCase,
    digest,
    make_terms,
    outcome,
    play,
)

REPOSITORY = Path(__file__).parents[2]
FILES = (
    REPOSITORY / "tests" / "rules" / "vectors.json",
    REPOSITORY / "contracts" / "test" / "vectors" / "vectors.json",
)
CHAIN_ID = 31337
MARKET = Address("0x" + "5a" * 20)
FLAGS = [
    field.name
    for field in dataclasses.fields(Facts)
    if field.name not in ("now_block", "deadline", "pending")
]
"""Bit i of a row's flags is FLAGS[i]; the order is that of Facts in Phases.sol."""


def word(value: bytes | str) -> str:
    """A 32-byte word as hex."""
    raw = value if isinstance(value, bytes) else bytes.fromhex(value.removeprefix("0x"))
    return "0x" + raw.rjust(32, b"\0").hex()


def rows(columns: str, found: Iterable[list[Any]]) -> dict[str, Any]:
    """A table: its columns by name, its cells row by row."""
    table = list(found)
    assert all(len(row) == len(columns.split()) for row in table)
    return {"columns": columns, "cells": [cell for row in table for cell in row]}


def permutations() -> Iterable[list[Any]]:
    for n in (1, 2, 3, 4, 5, 16, 17, 64, 65, 256, 257, 1000, 65_535):
        for seed in (bytes(32), digest("seed", n)):
            for i in sorted({0, 1 % n, n // 2, n - 1}):
                yield [word(seed), i, n, draws.permute(seed, i, n)]


def seeds() -> Iterable[list[Any]]:
    for stage in Stage:
        for question in (0, 1, 255, 256):
            beacon = digest("beacon", question)
            yield [
                word(beacon),
                int(stage),
                question,
                word(draws.draw_seed(beacon, stage, question)),
            ]


def seals() -> Iterable[list[Any]]:
    for n, stage in enumerate([*Stage, *Stage]):
        job, round_, question = JobId(1 + n * 2**200), n * 1000, n * 15
        provider = Address("0x" + digest("provider", n)[:20].hex())
        parts = [digest(name, n) for name in ("root", "cid", "secret", "salt")]
        context = SealContext(CHAIN_ID, MARKET, job, round_, question, stage, provider)
        where = [hex(job), round_, question, int(stage), word(provider)]
        yield [*where, *map(word, parts), word(seal(context, *parts))]


def witnesses() -> Iterable[list[Any]]:
    for n in range(8):
        witness = digest("witness", n)
        h = witness_hash(JobId(n + 1), n * 7, n * 36, witness)
        yield [n + 1, n * 7, n * 36, word(witness), word(h)]


def outcomes() -> Iterable[list[Any]]:
    for n in range(6):
        parts = [digest(name, n) for name in ("root", "cid", "h")]
        yield [*map(word, parts), word(outcome_hash(Outcome(*parts)))]


def transitions() -> Iterable[list[Any]]:
    """Every phase with every single flag, then 25 random facts per phase."""
    dice = random.Random(20_26)
    for phase in Phase:
        facts = [(9, 10, 1, 1 << bit) for bit in range(len(FLAGS))]
        facts += [(now, 10, pending, 0) for now in (9, 10) for pending in (0, 1)]
        facts += [
            (dice.randrange(8, 13), 10, dice.choice([0, 0, 1, 7]), dice.getrandbits(len(FLAGS)))
            for _ in range(25)
        ]
        for now, deadline, pending, flags in facts:
            known = {name: bool(flags >> bit & 1) for bit, name in enumerate(FLAGS)}
            following = next_phase(phase, Facts(now, deadline, pending=pending, **known))
            yield [int(phase), now, deadline, pending, flags, int(following)]


def economics() -> Iterable[list[Any]]:
    dice = random.Random(7)
    for n in range(16):
        tasks = dice.choice([1, 2, 7, 64, 256])
        reward = dice.choice([2, 3, 10**6, 10**18])
        terms = make_terms(
            rounds=dice.choice([1, 2, 1000]),
            tasks=tasks,
            checks=dice.randint(1, tasks),
            gatherers=dice.choice([3, 5, 13]),
            panel=dice.choice([1, 3, 13]),
            reward=reward,
            fee=reward + n,
            update_fee=dice.choice([0, reward // 2, 3 * reward]),
        )
        r, t, j, g, p = terms.rounds, terms.tasks, terms.checks, terms.gatherers, terms.panel
        w, f, u = terms.reward, terms.fee, terms.update_fee
        bonds = [smallest_bond(w, t, j, p, f, u), smallest_coordinator_bond(w, t, p, u)]
        results = [required_escrow(terms), *bonds]
        yield [r, t, j, g, p, *map(hex, [w, f, u, *results])]


ONE = make_terms(tasks=1, checks=1)
FOUR = make_terms()
TWO = make_terms(tasks=2, checks=1)
AGREED = (TRUE,) * 5
NO_UPDATE = UpdateCase()


def single(
    work: int, check: int = NOTHING, challenge: int = NOTHING, *panel: int, held: int = 7
) -> RoundCase:
    """A round of one checked task."""
    return RoundCase(ONE, (TaskCase(work, check, challenge, panel, held),))


def updating(
    proposal: int, checks: tuple[int, ...], challenge: int = NOTHING, *panel: int
) -> RoundCase:
    """A round whose one task passed, for the sake of its update."""
    return RoundCase(ONE, (TaskCase(TRUE, TRUE),), UpdateCase(proposal, checks, challenge, panel))


def beside_a_drawn_one(task: TaskCase) -> RoundCase:
    """A round of two tasks and one check, in which `task` is not drawn."""
    checked = TaskCase(TRUE, TRUE)
    first_is_drawn = RoundCase(TWO, (checked, checked)).drawn == 0b01
    return RoundCase(TWO, (checked, task) if first_is_drawn else (task, checked))


CASES: dict[str, RoundCase] = {
    "nothing sealed": single(NOTHING),
    "passed and included": single(TRUE, TRUE),
    "left out": single(TRUE, TRUE, held=1),
    "withheld": single(TRUE, TRUE, held=0),
    "nonfinite": single(NONFINITE, NONFINITE, held=0),
    "drawn worker unopened": single(UNOPENED, TRUE),
    "drawn worker and checker unopened": single(UNOPENED, UNOPENED),
    "dissent, worker wrong": single(FALSE, TRUE, NOTHING, TRUE, TRUE, FALSE),
    "dissent, checker wrong": single(TRUE, FALSE, NOTHING, TRUE, TRUE, TRUE),
    "dissent, both wrong": single(FALSE, OTHER, NOTHING, TRUE, TRUE, UNOPENED),
    "dissent, one vote": single(FALSE, TRUE, NOTHING, TRUE, NOTHING, NOTHING),
    "dissent, wrong panel": single(TRUE, FALSE, NOTHING, FALSE, FALSE, TRUE),
    "checker unopened, worker right": single(TRUE, UNOPENED, NOTHING, TRUE, TRUE, TRUE),
    "checker unopened, worker wrong": single(FALSE, UNOPENED, NOTHING, TRUE, NOTHING, NOTHING),
    "dissent without a lead": single(TRUE, FALSE, NOTHING, TRUE, FALSE, OTHER),
    "dissent, two votes, tied": single(TRUE, FALSE, NOTHING, TRUE, FALSE, UNOPENED),
    "dissent, nobody votes": single(TRUE, FALSE, NOTHING, NOTHING, NOTHING, NOTHING),
    "dissent, nobody opens": single(TRUE, FALSE, NOTHING, UNOPENED, UNOPENED, UNOPENED),
    "checker unopened, no lead": single(TRUE, UNOPENED, NOTHING, TRUE, FALSE, UNOPENED),
    "challenge wins": single(FALSE, FALSE, TRUE, TRUE, TRUE, UNOPENED),
    "challenge loses": single(TRUE, TRUE, FALSE, TRUE, TRUE, TRUE),
    "challenge unopened": single(TRUE, TRUE, UNOPENED, TRUE, TRUE, TRUE),
    "challenge copies the accused and the panel agrees": single(TRUE, TRUE, TRUE, TRUE, TRUE, TRUE),
    "challenge wrong, worker wrong": single(FALSE, FALSE, OTHER, TRUE, TRUE, TRUE),
    "challenge without a lead": single(TRUE, TRUE, FALSE, TRUE, FALSE, UNOPENED),
    "unopened challenge without a lead": single(TRUE, TRUE, UNOPENED, TRUE, FALSE, NOTHING),
    "copying challenge without a lead": single(TRUE, TRUE, TRUE, TRUE, FALSE, NOTHING),
    "released task": RoundCase(FOUR, (TaskCase(UNOPENED), *[TaskCase(TRUE, TRUE)] * 3)),
    "void round": RoundCase(
        FOUR,
        (*[TaskCase(UNOPENED)] * 2, *[TaskCase(UNOPENED, UNOPENED)] * 2),
        NO_UPDATE,
        0,
    ),
    "undrawn task paid": beside_a_drawn_one(TaskCase(TRUE)),
    "undrawn task unopened": beside_a_drawn_one(TaskCase(UNOPENED)),
    "update agreed": updating(TRUE, AGREED),
    "update agreed, some passed": updating(TRUE, (TRUE, NOTHING, TRUE, TRUE, NOTHING)),
    "update nonfinite": updating(NONFINITE, (NONFINITE,) * 5),
    "update not proposed": updating(NOTHING, ()),
    "update not checked": updating(UNOPENED, (UNOPENED, *[NOTHING] * 4)),
    "update, proposer wrong": updating(FALSE, (FALSE, *AGREED[1:]), NOTHING, TRUE, TRUE, TRUE),
    "update, proposer unopened": updating(UNOPENED, AGREED, NOTHING, TRUE, TRUE, NOTHING),
    "update, checker wrong": updating(TRUE, (*AGREED[1:], FALSE), NOTHING, TRUE, TRUE, FALSE),
    "update, checker unopened": updating(TRUE, (UNOPENED, *AGREED[1:]), NOTHING, TRUE, TRUE, TRUE),
    "update, no lead": updating(TRUE, (*AGREED[1:], FALSE), NOTHING, TRUE, FALSE, OTHER),
    "update, unopened dissent, no lead": updating(
        TRUE, (UNOPENED, TRUE, TRUE, FALSE, TRUE), NOTHING, TRUE, FALSE, NOTHING
    ),
    "update, proposer unopened, no lead": updating(UNOPENED, AGREED, NOTHING, TRUE, FALSE, NOTHING),
    "update, dissent that nobody judges": updating(
        TRUE, (*AGREED[1:], FALSE), NOTHING, NOTHING, NOTHING, NOTHING
    ),
    "update, challenge wins": updating(FALSE, (FALSE,) * 5, TRUE, TRUE, TRUE, TRUE),
    "update, challenge loses": updating(TRUE, AGREED, FALSE, TRUE, TRUE, UNOPENED),
    "update, challenge without a lead": updating(TRUE, AGREED, FALSE, TRUE, FALSE, UNOPENED),
    "update, panel finds none": updating(FALSE, (FALSE,) * 5, TRUE, *[NONFINITE] * 3),
}
KINDS = ("credit", "slash", "burn")


def settlements() -> Iterable[dict[str, Any]]:
    """Answers: 0 nothing, 1 sealed only, 2 NONFINITE, 3 and above finite. Accounts are numbers."""
    for name, case in CASES.items():
        terms, result = case.terms, settle(case.terms, play(case))
        answers = {outcome(terms.update_question, a): a for a in range(NONFINITE, OTHER + 1)}
        tasks: list[int] = []
        for deeds in case.tasks:
            panel = (*deeds.panel, *[NOTHING] * terms.panel)[: terms.panel]
            tasks += [deeds.work, deeds.check, deeds.challenge, deeds.held, *panel]
        proposal = case.update
        checks = (*proposal.checks, *[NOTHING] * (terms.gatherers + 2))[: terms.gatherers + 2]
        votes = (*proposal.panel, *[NOTHING] * terms.panel)[: terms.panel]
        lines = [
            [KINDS.index(x.kind), int(x.account[2:]), x.question, int(x.reason), x.amount]
            for x in result.lines
        ]
        yield {
            "name": name,
            "draw": word(case.draw),
            "drawn": case.drawn,
            "terms": [
                *(terms.tasks, terms.checks, terms.gatherers, terms.panel, terms.reward),
                *(terms.fee, terms.update_fee, terms.bond, terms.coordinator_bond),
            ],
            "tasks": tasks,
            "posted": case.posted,
            "update": [proposal.proposal, *checks, proposal.challenge, *votes],
            "results": [int(result.results[task]) for task in range(terms.tasks)],
            "included": result.included,
            "accepted": answers[result.update] if result.update else NOTHING,
            "void": int(result.is_void),
            "removed": int(result.coordinator_removed),
            "lines": [cell for line in sorted(lines) for cell in line],
        }


def vectors() -> dict[str, Any]:
    """Everything in the file."""
    return {
        "chainId": CHAIN_ID,
        "market": word(MARKET),
        "flags": " ".join(FLAGS),
        "perm": rows("seed i n image", permutations()),
        "seed": rows("beacon purpose question seed", seeds()),
        "seal": rows("job round question stage provider root cid secret salt hash", seals()),
        "witness": rows("job round question witness h", witnesses()),
        "outcome": rows("root cid h hash", outcomes()),
        "phase": rows("from now deadline pending flags next", transitions()),
        "terms": rows("R T J G N w f u escrow bond coordinatorBond", economics()),
        "settlement": list(settlements()),
    }


def text() -> str:
    """The file, byte for byte."""
    return json.dumps(vectors(), indent=None, separators=(", ", ": ")).replace("}, ", "},\n") + "\n"


if __name__ == "__main__":
    for path in FILES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text())
