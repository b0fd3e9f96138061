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

from protocol.storage.cid import Cid
from protocol.training.canonical import (
    MAX_DOCUMENT_BYTES,
    MAX_INTEGER,
    Node,
    encode_float,
    encode_json,
    read_document,
)
from protocol.training.errors import ManifestError
from protocol.training.model_config import FamilyConfig, read_model, write_model

VERSION: Final = 1
MAX_ROUNDS: Final = 1 << 13
MAX_TASKS: Final = 256
MAX_SHARDS: Final = 1024
MAX_SHARD_BYTES: Final = 1 << 30
MAX_SEQUENCES: Final = 1 << 12
MAX_MICRO_BATCHES: Final = 1 << 10
PROFILES: Final = ("exact-1",)
PROGRAMS: Final = ("causal-lm-1",)
TOKEN_BYTES: Final = (2, 4)
COLUMNS: Final = ("d", "b1", "b1c", "b2", "b2c", "s", "u", "eps")
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """How text became tokens: `bytes` (token = byte value) or `bpe` with its published file."""

    kind: str
    cid: Cid | None = None


@dataclass(frozen=True, slots=True)
class NumericProfile:
    """The arithmetic: profile name, bits per GEMM operand, length of a GEMM block."""

    name: str = "exact-1"
    b: int = 14
    kb: int = 1024


@dataclass(frozen=True, slots=True)
class ProgramRef:
    """The program every task runs: its name and the root of its description."""

    name: str
    root: bytes


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of tokens: where it is, its root, its length in bytes, its number of tokens."""

    cid: Cid
    root: bytes
    length: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Data:
    """Training tokens, little-endian unsigned integers of `token_bytes` bytes."""

    token_bytes: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """A task is `micro_batches` forward and backward passes over `sequences` sequences each."""

    sequences: int
    micro_batches: int


@dataclass(frozen=True, slots=True)
class AdamWRow:
    """The scalars of one optimiser step, binary32 values.

    p = p*d; m = b1*m + b1c*g; v = b2*v + b2c*(g*g); p = p - s*(m / (sqrt(v)*u + eps)).
    """

    d: float
    b1: float
    b1c: float
    b2: float
    b2c: float
    s: float
    u: float
    eps: float

    def values(self) -> tuple[float, ...]:
        """Return the scalars in the order of `COLUMNS`."""
        return (self.d, self.b1, self.b1c, self.b2, self.b2c, self.s, self.u, self.eps)


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How results become one gradient: their mean, each clipped to an L2 norm before."""

    rule: str
    norm_clip: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The sequences every update is measured on, spread evenly over one shard."""

    shard: Shard
    sequences: int


@dataclass(frozen=True, slots=True)
class Genesis:
    """State S_0: its root and the CID of its bundle index."""

    root: bytes
    cid: Cid


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
            tokenizer=_read_tokenizer(fields["tokenizer"]),
            profile=_read_profile(fields["profile"]),
            program=_read_program(fields["program"]),
            data=_read_data(fields["data"]),
            sequence_length=fields["sequence_length"].integer(1, 1 << 16),
            batch=_read_batch(fields["batch"]),
            rounds=fields["rounds"].integer(1, MAX_ROUNDS),
            tasks=fields["tasks"].integer(1, MAX_TASKS),
            order_seed=fields["order_seed"].integer(0, MAX_INTEGER),
            optimiser=_read_optimiser(fields["optimiser"]),
            aggregation=_read_aggregation(fields["aggregation"]),
            evaluation=_read_evaluation(fields["evaluation"]),
            genesis=_read_genesis(fields["genesis"]),
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
                "shards": [_write_shard(shard) for shard in self.data.shards],
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
                "shard": _write_shard(self.evaluation.shard),
            },
            "genesis": {"cid": str(self.genesis.cid), "root": self.genesis.root.hex()},
        }


def windows(tokens: int, sequence_length: int) -> int:
    """Count the sequences a shard holds: inputs and the targets one token further on."""
    return max(0, (tokens - 1) // sequence_length)


def _write_shard(shard: Shard) -> dict[str, object]:
    return {
        "cid": str(shard.cid),
        "length": shard.length,
        "root": shard.root.hex(),
        "tokens": shard.tokens,
    }


def _read_shard(node: Node) -> Shard:
    fields = node.fields("cid", "length", "root", "tokens")
    return Shard(
        cid=fields["cid"].cid(),
        root=fields["root"].digest(),
        length=fields["length"].integer(1, MAX_SHARD_BYTES),
        tokens=fields["tokens"].integer(1, MAX_SHARD_BYTES),
    )


def _read_tokenizer(node: Node) -> Tokenizer:
    if not node.has("cid"):
        return Tokenizer(node.fields("kind")["kind"].choice("bytes"))
    fields = node.fields("cid", "kind")
    return Tokenizer(fields["kind"].choice("bpe"), fields["cid"].cid())


def _read_profile(node: Node) -> NumericProfile:
    fields = node.fields("b", "kb", "name")
    b = fields["b"].integer(14, 16)
    kb = fields["kb"].integer(256, 1024)
    if b not in (14, 16):
        fields["b"].refuse("14 or 16")
    if kb not in (256, 512, 1024):
        fields["kb"].refuse("256, 512 or 1024")
    return NumericProfile(fields["name"].choice(*PROFILES), b, kb)


def _read_program(node: Node) -> ProgramRef:
    fields = node.fields("name", "root")
    return ProgramRef(fields["name"].choice(*PROGRAMS), fields["root"].digest())


def _read_data(node: Node) -> Data:
    fields = node.fields("shards", "token_bytes")
    token_bytes = fields["token_bytes"].integer(min(TOKEN_BYTES), max(TOKEN_BYTES))
    if token_bytes not in TOKEN_BYTES:
        fields["token_bytes"].refuse("2 or 4")
    shards = tuple(_read_shard(item) for item in fields["shards"].items(1, MAX_SHARDS))
    return Data(token_bytes, shards)


def _read_batch(node: Node) -> Batch:
    fields = node.fields("micro_batches", "sequences")
    return Batch(
        sequences=fields["sequences"].integer(1, MAX_SEQUENCES),
        micro_batches=fields["micro_batches"].integer(1, MAX_MICRO_BATCHES),
    )


def _read_optimiser(node: Node) -> tuple[AdamWRow, ...]:
    fields = node.fields("name", "rows")
    fields["name"].choice("adamw")
    return tuple(_read_row(item) for item in fields["rows"].items(1, MAX_ROUNDS))


def _read_row(node: Node) -> AdamWRow:
    cells = node.items(len(COLUMNS), len(COLUMNS))
    # Every factor is at most 1 but s and u, which undo the bias of the first moments.
    most = (1.0, 1.0, 1.0, 1.0, 1.0, 2.0**20, 2.0**20, 1.0)
    least = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0**-60)
    bounds = zip(cells, least, most, strict=True)
    return AdamWRow(*(cell.number(low, high) for cell, low, high in bounds))


def _read_aggregation(node: Node) -> Aggregation:
    fields = node.fields("norm_clip", "rule")
    return Aggregation(
        rule=fields["rule"].choice("mean"),
        norm_clip=fields["norm_clip"].number(2.0**-20, 2.0**20),
    )


def _read_evaluation(node: Node) -> Evaluation:
    fields = node.fields("sequences", "shard")
    return Evaluation(_read_shard(fields["shard"]), fields["sequences"].integer(1, MAX_SEQUENCES))


def _read_genesis(node: Node) -> Genesis:
    fields = node.fields("cid", "root")
    return Genesis(fields["root"].digest(), fields["cid"].cid())


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
