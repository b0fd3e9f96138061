"""Where every byte of a bundle lies, as a function of names, types and shapes alone.

Stands under `bundle.py`, which moves the bytes. A shard is a safetensors file without metadata,
byte for byte what the safetensors library writes for the same tensors: wider types first, then by
name. The index adds only what the layout cannot know: the shards' CIDs and the tensors' roots.
INVARIANT: a hostile header or index is never interpreted, only compared with the planned one.

Source of the format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.unixfs import UNIXFS_V1_2025
from protocol.training.canonical import MAX_DOCUMENT_BYTES, Node, encode_json, read_document
from protocol.training.errors import BundleError, IndexRefused

VERSION: Final = 1
# A shard closes before the tensor that would make it longer; a longer tensor has its own shard.
SHARD_BYTES: Final = 64 << 20
MAX_TENSORS: Final = 4096

_TYPES: Final = {torch.int64: "I64", torch.float32: "F32"}
_ITEM_BYTES: Final = {torch.int64: 8, torch.float32: 4}
_ALIGNMENT: Final = 8

Schema = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: its shard, and its bytes in that file."""

    name: str
    shard: int
    offset: int
    length: int
    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard before any data: its header bytes, its places in order, the file's length."""

    header: bytes
    places: tuple[Place, ...]
    length: int


def plan_shards(schema: Schema, shard_bytes: int = SHARD_BYTES) -> tuple[ShardPlan, ...]:
    """Lay tensors out into shards of about `shard_bytes`.

    Raises `BundleError` for a type that no bundle holds, no tensors or too many.
    """
    if not 0 < len(schema) <= MAX_TENSORS:
        raise BundleError(
            f"A bundle holds 1 to {MAX_TENSORS} tensors, not {len(schema)}", fix="Split the model."
        )
    for name, (dtype, _) in schema.items():
        if dtype not in _TYPES:
            raise BundleError(
                f"Tensor {name!r} is {dtype}",
                why="A bundle holds float32 and int64.",
                fix="Convert it first.",
            )
    groups: list[list[str]] = [[]]
    filled = 0
    for name in sorted(schema, key=lambda name: (-_ITEM_BYTES[schema[name][0]], name)):
        length = _byte_length(schema[name])
        if groups[-1] and filled + length > shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += length
    return tuple(_plan_shard(number, names, schema) for number, names in enumerate(groups))


def _byte_length(entry: tuple[torch.dtype, tuple[int, ...]]) -> int:
    dtype, shape = entry
    return math.prod(shape) * _ITEM_BYTES[dtype]


def _plan_shard(number: int, names: list[str], schema: Schema) -> ShardPlan:
    entries: dict[str, object] = {}
    at = 0
    for name in names:
        dtype, shape = schema[name]
        end = at + _byte_length(schema[name])
        # The order of these keys is the library's; it is part of the bytes.
        entries[name] = {
            "dtype": _TYPES[dtype],
            "shape": list(shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    # Padding keeps every tensor aligned to its own size, for readers that map the file.
    text += b" " * (-len(text) % _ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    places = []
    start = len(header)
    for name in names:
        length = _byte_length(schema[name])
        places.append(Place(name, number, start, length, *schema[name]))
        start += length
    return ShardPlan(header, tuple(places), start)


def encode_index(
    plans: Sequence[ShardPlan], cids: Sequence[Cid], roots: Mapping[str, bytes]
) -> bytes:
    """Return the index bytes. Raises `BundleError` when they do not fit one raw block."""
    tensors = {
        place.name: {
            "dtype": _TYPES[place.dtype],
            "length": place.length,
            "offset": place.offset,
            "root": roots[place.name].hex(),
            "shape": list(place.shape),
            "shard": place.shard,
        }
        for plan in plans
        for place in plan.places
    }
    shards = [
        {"cid": str(cid), "length": plan.length} for plan, cid in zip(plans, cids, strict=True)
    ]
    data = encode_json({"shards": shards, "tensors": tensors, "version": VERSION})
    if len(data) > MAX_DOCUMENT_BYTES:
        raise BundleError(
            f"The index has {len(data)} bytes, over {MAX_DOCUMENT_BYTES}", fix="Split the model."
        )
    return data


def decode_index(
    data: bytes, plans: Sequence[ShardPlan]
) -> tuple[tuple[Cid, ...], dict[str, bytes]]:
    """Read the shards' CIDs and the tensors' roots out of the index of exactly these plans.

    Raises `IndexRefused` when the index differs from the plans in anything else.
    """
    fields = read_document(data, "index", IndexRefused).fields("shards", "tensors", "version")
    fields["version"].integer(VERSION, VERSION)
    rows = fields["shards"].items(len(plans), len(plans))
    cids = tuple(_read_shard(row, plan) for row, plan in zip(rows, plans, strict=True))
    places = {place.name: place for plan in plans for place in plan.places}
    tensors = fields["tensors"].fields(*places)
    return cids, {name: _read_place(tensors[name], place) for name, place in places.items()}


def _read_shard(node: Node, plan: ShardPlan) -> Cid:
    fields = node.fields("cid", "length")
    fields["length"].integer(plan.length, plan.length)
    cid = fields["cid"].cid()
    if cid.codec != (RAW if plan.length <= UNIXFS_V1_2025.chunk_size else DAG_PB):
        fields["cid"].refuse("the codec of a file of this length")
    return cid


def _read_place(node: Node, place: Place) -> bytes:
    fields = node.fields("dtype", "length", "offset", "root", "shape", "shard")
    fields["dtype"].choice(_TYPES[place.dtype])
    fields["length"].integer(place.length, place.length)
    fields["offset"].integer(place.offset, place.offset)
    fields["shard"].integer(place.shard, place.shard)
    sides = fields["shape"].items(len(place.shape), len(place.shape))
    for side, expected in zip(sides, place.shape, strict=True):
        side.integer(expected, expected)
    return fields["root"].digest()
