"""The parts of a job manifest, each a value with its reader.

Stands under `manifest.py`, which puts them together. INVARIANT: whatever a reader returns is
within the bounds below, which hold for every job, so that a hostile manifest costs nothing to
read and asks for nothing absurd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.storage.cid import Cid
from protocol.training.canonical import Node

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


def write_shard(shard: Shard) -> dict[str, object]:
    return {
        "cid": str(shard.cid),
        "length": shard.length,
        "root": shard.root.hex(),
        "tokens": shard.tokens,
    }


def read_shard(node: Node) -> Shard:
    fields = node.fields("cid", "length", "root", "tokens")
    return Shard(
        cid=fields["cid"].cid(),
        root=fields["root"].digest(),
        length=fields["length"].integer(1, MAX_SHARD_BYTES),
        tokens=fields["tokens"].integer(1, MAX_SHARD_BYTES),
    )


def read_tokenizer(node: Node) -> Tokenizer:
    if not node.has("cid"):
        return Tokenizer(node.fields("kind")["kind"].choice("bytes"))
    fields = node.fields("cid", "kind")
    return Tokenizer(fields["kind"].choice("bpe"), fields["cid"].cid())


def read_profile(node: Node) -> NumericProfile:
    fields = node.fields("b", "kb", "name")
    b = fields["b"].integer(14, 16)
    kb = fields["kb"].integer(256, 1024)
    if b not in (14, 16):
        fields["b"].refuse("14 or 16")
    if kb not in (256, 512, 1024):
        fields["kb"].refuse("256, 512 or 1024")
    return NumericProfile(fields["name"].choice(*PROFILES), b, kb)


def read_program(node: Node) -> ProgramRef:
    fields = node.fields("name", "root")
    return ProgramRef(fields["name"].choice(*PROGRAMS), fields["root"].digest())


def read_data(node: Node) -> Data:
    fields = node.fields("shards", "token_bytes")
    token_bytes = fields["token_bytes"].integer(min(TOKEN_BYTES), max(TOKEN_BYTES))
    if token_bytes not in TOKEN_BYTES:
        fields["token_bytes"].refuse("2 or 4")
    shards = tuple(read_shard(item) for item in fields["shards"].items(1, MAX_SHARDS))
    return Data(token_bytes, shards)


def read_batch(node: Node) -> Batch:
    fields = node.fields("micro_batches", "sequences")
    return Batch(
        sequences=fields["sequences"].integer(1, MAX_SEQUENCES),
        micro_batches=fields["micro_batches"].integer(1, MAX_MICRO_BATCHES),
    )


def read_optimiser(node: Node) -> tuple[AdamWRow, ...]:
    fields = node.fields("name", "rows")
    fields["name"].choice("adamw")
    return tuple(read_row(item) for item in fields["rows"].items(1, MAX_ROUNDS))


def read_row(node: Node) -> AdamWRow:
    cells = node.items(len(COLUMNS), len(COLUMNS))
    # Every factor is at most 1 but s and u, which undo the bias of the first moments.
    most = (1.0, 1.0, 1.0, 1.0, 1.0, 2.0**20, 2.0**20, 1.0)
    least = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0**-60)
    bounds = zip(cells, least, most, strict=True)
    return AdamWRow(*(cell.number(low, high) for cell, low, high in bounds))


def read_aggregation(node: Node) -> Aggregation:
    fields = node.fields("norm_clip", "rule")
    return Aggregation(
        rule=fields["rule"].choice("mean"),
        norm_clip=fields["norm_clip"].number(2.0**-20, 2.0**20),
    )


def read_evaluation(node: Node) -> Evaluation:
    fields = node.fields("sequences", "shard")
    return Evaluation(read_shard(fields["shard"]), fields["sequences"].integer(1, MAX_SEQUENCES))


def read_genesis(node: Node) -> Genesis:
    fields = node.fields("cid", "root")
    return Genesis(fields["root"].digest(), fields["cid"].cid())
