"""Seals: every field counts, and a panel is bound to a witness that no reveal shows."""

import dataclasses
import hashlib

import pytest
from eth_hash.auto import keccak

from protocol.rules.records import ZERO32, Address, JobId, Outcome, Stage
from protocol.rules.sealing import (
    NONFINITE_ROOT,
    SealContext,
    is_finite,
    outcome_hash,
    seal,
    witness_hash,
    words,
)

CONTEXT = SealContext(
    chain_id=31337,
    market=Address("0x" + "11" * 20),
    job=JobId(7),
    round=3,
    question=2,
    stage=Stage.WORK,
    provider=Address("0x" + "22" * 20),
)
PARTS = [bytes([n]) * 32 for n in (1, 2, 3, 4)]
CHANGES = {
    "chain_id": 1,
    "market": Address("0x" + "33" * 20),
    "job": JobId(8),
    "round": 4,
    "question": 3,
    "stage": Stage.CHECK,
    "provider": Address("0x" + "44" * 20),
}


def test_seal_is_the_hash_of_eleven_words() -> None:
    expected = b"".join(
        [
            (31337).to_bytes(32, "big"),
            bytes(12) + b"\x11" * 20,
            *(n.to_bytes(32, "big") for n in (7, 3, 2, 0)),
            bytes(12) + b"\x22" * 20,
            *PARTS,
        ]
    )
    assert seal(CONTEXT, *PARTS) == keccak(expected)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(SealContext)])
def test_every_field_of_the_context_changes_the_seal(name: str) -> None:
    changed = dataclasses.replace(CONTEXT, **{name: CHANGES[name]})
    assert seal(changed, *PARTS) != seal(CONTEXT, *PARTS)


@pytest.mark.parametrize("position", range(4))
def test_every_hidden_part_changes_the_seal(position: int) -> None:
    parts = list(PARTS)
    parts[position] = bytes([9]) * 32
    assert seal(CONTEXT, *parts) != seal(CONTEXT, *PARTS)


def test_stages_never_share_a_seal() -> None:
    seals = {seal(dataclasses.replace(CONTEXT, stage=stage), *PARTS) for stage in Stage}
    assert len(seals) == len(Stage)


def test_witness_hash_binds_the_witness_to_its_question() -> None:
    witness = b"w" * 32
    base = witness_hash(JobId(1), 2, 3, witness)
    assert base == keccak(words(1, 2, 3, witness))
    others = [
        witness_hash(JobId(2), 2, 3, witness),
        witness_hash(JobId(1), 3, 3, witness),
        witness_hash(JobId(1), 2, 4, witness),
        witness_hash(JobId(1), 2, 3, b"v" * 32),
    ]
    assert len({base, *others}) == 5


def test_public_h_does_not_make_a_panel_seal() -> None:
    """What a reveal shows (root, cid, h) is not what a panel has to seal (root, cid, witness)."""
    witness = b"w" * 32
    h = witness_hash(CONTEXT.job, CONTEXT.round, CONTEXT.question, witness)
    panel = dataclasses.replace(CONTEXT, stage=Stage.PANEL)
    assert seal(panel, PARTS[0], PARTS[1], h, PARTS[3]) != seal(
        panel, PARTS[0], PARTS[1], witness, PARTS[3]
    )


def test_outcome_hash_takes_all_three_parts() -> None:
    a, b, c, d = PARTS
    outcomes = [Outcome(a, b, c), Outcome(d, b, c), Outcome(a, d, c), Outcome(a, b, d)]
    assert len({outcome_hash(outcome) for outcome in outcomes}) == 4


def test_nonfinite_is_known_by_its_root() -> None:
    assert hashlib.sha256(b"gradproof/exact-1/NONFINITE").digest() == NONFINITE_ROOT
    assert not is_finite(Outcome(NONFINITE_ROOT, ZERO32, PARTS[0]))
    assert is_finite(Outcome(*PARTS[:3]))
