"""Seals: what is committed before anything is public, and how it is opened.

A seal binds chain, market, job, round, question, stage and provider, so it cannot be replayed
anywhere else, and a salt, so it cannot be guessed. A panel member seals the witness itself in place
of its hash h: h is public once a task is revealed, the witness is not, so a vote cannot be copied.
Mirrors contracts/src/libraries/Sealing.sol.
"""

import hashlib
from dataclasses import dataclass

from eth_hash.auto import keccak

from protocol.rules.records import ZERO32, Address, JobId, Outcome, Stage

NONFINITE_ROOT = hashlib.sha256(b"gradproof/exact-1/NONFINITE").digest()
"""Root of the canonical outcome of a task whose numbers left the finite range."""


def words(*values: int | bytes | str) -> bytes:
    """ABI encoding of static values, a 32-byte word each: str is an address, bytes a bytes32."""
    encoded = bytearray()
    for value in values:
        if isinstance(value, bytes):
            assert len(value) == 32
            encoded += value
        elif isinstance(value, str):
            encoded += bytes(12) + bytes.fromhex(value.removeprefix("0x"))
        else:
            encoded += value.to_bytes(32, "big")
    return bytes(encoded)


@dataclass(frozen=True, slots=True)
class SealContext:
    """Everything a seal is bound to besides what it hides."""

    chain_id: int
    market: Address
    job: JobId
    round: int
    question: int
    stage: Stage
    provider: Address


def witness_hash(job: JobId, round_: int, question: int, witness: bytes) -> bytes:
    """h: binds a witness to its question without showing it."""
    return keccak(words(job, round_, question, witness))


def seal(context: SealContext, root: bytes, cid: bytes, h_or_witness: bytes, salt: bytes) -> bytes:
    """The sealed bytes' hash, 32 bytes; panels pass the witness, everybody else h."""
    return keccak(
        words(
            context.chain_id,
            context.market,
            context.job,
            context.round,
            context.question,
            int(context.stage),
            context.provider,
            root,
            cid,
            h_or_witness,
            salt,
        )
    )


def outcome_hash(outcome: Outcome) -> bytes:
    """One value for (root, cid, h); what verdicts compare."""
    return keccak(words(outcome.root, outcome.cid, outcome.h))


def is_finite(outcome: Outcome) -> bool:
    """False for the canonical NONFINITE outcome, which has no files."""
    return outcome.root != NONFINITE_ROOT and outcome.cid != ZERO32
