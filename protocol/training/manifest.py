"""The job manifest: everything a machine must know to compute a task, and nothing else.

The requester authors it once; its digest goes on chain; every role parses it before anything
else. It is data, never code, and needs no torch to read.
INVARIANTS: one manifest has one byte form, which fits one raw block, so that its SHA-256 is its
CID's digest. Whatever parses is within the bounds below, and its parts fit each other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from protocol.training.canonical import (
    MAX_DOCUMENT_BYTES,
    MAX_INTEGER,
    encode_float,
    encode_json,
    read_document,
)
from protocol.training.errors import ManifestError
from protocol.training.manifest_parts import (
    MAX_ROUNDS,
    MAX_TASKS,
    AdamWRow,
    Aggregation,
    Batch,
    Data,
    Evaluation,
    Genesis,
    NumericProfile,
    ProgramRef,
    Tokenizer,
    read_aggregation,
    read_batch,
    read_data,
    read_evaluation,
    read_genesis,
    read_optimiser,
    read_profile,
    read_program,
    read_tokenizer,
    write_shard,
)
from protocol.training.model_config import FamilyConfig, read_model, write_model

VERSION: Final = 1
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One job. `rounds` x `tasks` tasks; `order_seed` keys the order of the training sequences."""

    name: str
    model: FamilyConfig
    tokenizer: Tokenizer
    profile: NumericProfile
    program: ProgramRef
    data: Data
    sequence_length: int
    batch: Batch
    rounds: int
    tasks: int
    order_seed: int
    optimiser: tuple[AdamWRow, ...]
    aggregation: Aggregation
    evaluation: Evaluation
    genesis: Genesis

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest from its bytes. Raises `ManifestError` naming the field at fault."""
        root = read_document(data, "manifest", ManifestError)
        fields = root.fields("version", *cls.__slots__)
        fields["version"].integer(VERSION, VERSION)
        manifest = cls(
            name=fields["name"].text(_NAME, "1 to 64 letters, digits, spaces, dots, - and _"),
            model=read_model(fields["model"]),
            tokenizer=read_tokenizer(fields["tokenizer"]),
            profile=read_profile(fields["profile"]),
            program=read_program(fields["program"]),
            data=read_data(fields["data"]),
            sequence_length=fields["sequence_length"].integer(1, 1 << 16),
            batch=read_batch(fields["batch"]),
            rounds=fields["rounds"].integer(1, MAX_ROUNDS),
            tasks=fields["tasks"].integer(1, MAX_TASKS),
            order_seed=fields["order_seed"].integer(0, MAX_INTEGER),
            optimiser=read_optimiser(fields["optimiser"]),
            aggregation=read_aggregation(fields["aggregation"]),
            evaluation=read_evaluation(fields["evaluation"]),
            genesis=read_genesis(fields["genesis"]),
        )
        _check_fit(manifest)
        return manifest

    def encode(self) -> bytes:
        """Return the one byte form. Raises `ManifestError` when it would not parse again."""
        try:
            data = encode_json(self._to_json())
        except ValueError as error:
            raise ManifestError("manifest", str(error), "exact binary32 values") from error
        if len(data) > MAX_DOCUMENT_BYTES:
            raise ManifestError(
                "manifest", f"{len(data)} bytes", f"at most {MAX_DOCUMENT_BYTES} (fewer rounds)"
            )
        Manifest.parse(data)
        return data

    def digest(self) -> bytes:
        """Return the SHA-256 of the bytes: the digest on chain, and of the manifest's CID."""
        return hashlib.sha256(self.encode()).digest()

    def _to_json(self) -> dict[str, object]:
        tokenizer: dict[str, object] = {"kind": self.tokenizer.kind}
        if self.tokenizer.cid is not None:
            tokenizer["cid"] = str(self.tokenizer.cid)
        return {
            "version": VERSION,
            "name": self.name,
            "model": write_model(self.model),
            "tokenizer": tokenizer,
            "profile": {"b": self.profile.b, "kb": self.profile.kb, "name": self.profile.name},
            "program": {"name": self.program.name, "root": self.program.root.hex()},
            "data": {
                "shards": [write_shard(shard) for shard in self.data.shards],
                "token_bytes": self.data.token_bytes,
            },
            "sequence_length": self.sequence_length,
            "batch": {
                "micro_batches": self.batch.micro_batches,
                "sequences": self.batch.sequences,
            },
            "rounds": self.rounds,
            "tasks": self.tasks,
            "order_seed": self.order_seed,
            "optimiser": {
                "name": "adamw",
                "rows": [[encode_float(v) for v in row.values()] for row in self.optimiser],
            },
            "aggregation": {
                "norm_clip": encode_float(self.aggregation.norm_clip),
                "rule": self.aggregation.rule,
            },
            "evaluation": {
                "sequences": self.evaluation.sequences,
                "shard": write_shard(self.evaluation.shard),
            },
            "genesis": {"cid": str(self.genesis.cid), "root": self.genesis.root.hex()},
        }


def windows(tokens: int, sequence_length: int) -> int:
    """Count the sequences a shard holds: inputs and the targets one token further on."""
    return max(0, (tokens - 1) // sequence_length)


def _check_fit(manifest: Manifest) -> None:
    """Check what no field can tell alone: that the parts of the manifest fit each other."""

    def refuse(path: str, found: object, expected: str) -> None:
        raise ManifestError(f"manifest.{path}", str(found), expected)

    if manifest.sequence_length > manifest.model.positions:
        most = manifest.model.positions
        refuse("sequence_length", manifest.sequence_length, f"at most the model's {most} positions")
    if len(manifest.optimiser) != manifest.rounds:
        refuse(
            "optimiser.rows", f"{len(manifest.optimiser)} rows", f"{manifest.rounds}, one a round"
        )
    token_bytes = manifest.data.token_bytes
    if manifest.model.vocabulary > 1 << (8 * token_bytes):
        refuse("data.token_bytes", token_bytes, f"room for {manifest.model.vocabulary} tokens")
    named = {f"data.shards[{i}]": shard for i, shard in enumerate(manifest.data.shards)}
    for path, shard in (named | {"evaluation.shard": manifest.evaluation.shard}).items():
        if shard.length != shard.tokens * token_bytes:
            refuse(f"{path}.length", shard.length, f"tokens x {token_bytes} bytes")
        if windows(shard.tokens, manifest.sequence_length) < 1:
            refuse(f"{path}.tokens", shard.tokens, "at least one sequence and its last target")
    if manifest.evaluation.sequences % manifest.batch.sequences:
        most = manifest.batch.sequences
        refuse("evaluation.sequences", manifest.evaluation.sequences, f"a multiple of {most}")
    available = windows(manifest.evaluation.shard.tokens, manifest.sequence_length)
    if manifest.evaluation.sequences > available:
        refuse("evaluation.sequences", manifest.evaluation.sequences, f"at most {available}")
