"""The canonical files of a state or a result: safetensors shards and an index.

Workers write them before they seal; gatherers, verifiers and the coordinator read them from
strangers. INVARIANTS: the files and their CIDs are a function of the tensors (`layout.py`), so
(root, CID) is one value. Reading allocates nothing before every size fits the expected schema,
and returns no tensor whose root was not checked or which holds a NaN or an infinity.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from protocol.exact.roots import result_leaf, tensor_root
from protocol.rules import merkle
from protocol.rules.sealing import NONFINITE_ROOT
from protocol.storage.cid import Cid
from protocol.storage.unixfs import cid_of_file
from protocol.training.canonical import encode_json
from protocol.training.errors import BundleError
from protocol.training.layout import (
    SHARD_BYTES,
    VERSION,
    Place,
    Schema,
    ShardPlan,
    decode_index,
    encode_index,
    plan_shards,
)

INDEX_NAME: Final = "index.json"
NONFINITE_INDEX: Final = encode_json({"nonfinite": 1, "version": VERSION})

ShardPathOf = Callable[[Cid], Path]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files on disk. `index_digest` is the SHA-256 of the index, which is its CID's digest."""

    index_path: Path
    shard_paths: tuple[Path, ...]
    shard_cids: tuple[Cid, ...]
    index_digest: bytes
    root: bytes

    @property
    def cid(self) -> Cid:
        """The name of the index, which names the shards."""
        return Cid.raw(self.index_digest)


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard to fetch: its CID and its exact length, known before a byte arrives."""

    cid: Cid
    length: int


def schema_of(tensors: Mapping[str, Tensor]) -> Schema:
    """Return the type and the shape of every tensor."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def write_bundle(
    tensors: Mapping[str, Tensor], folder: Path, *, shard_bytes: int = SHARD_BYTES
) -> Bundle:
    """Write the shards and their index into a folder, which is made when missing.

    Equal tensors give equal bytes on every machine. The files are on disk (fsync) when this
    returns, because a seal may only follow them. Raises `BundleError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_shards(schema_of(tensors), shard_bytes)
    paths = tuple(folder / f"shard-{number:05d}.safetensors" for number in range(len(plans)))
    for plan, path in zip(plans, paths, strict=True):
        _write_file(path, _shard_parts(plan, tensors))
    roots = {name: tensor_root(tensor) for name, tensor in tensors.items()}
    cids = tuple(cid_of_file(path) for path in paths)
    index = encode_index(plans, cids, roots)
    return _close(folder, index, dict(zip(paths, cids, strict=True)), _root_of(roots))


def write_nonfinite(folder: Path) -> Bundle:
    """Write the bundle of the canonical NONFINITE result: no shards, always the same index."""
    folder.mkdir(parents=True, exist_ok=True)
    return _close(folder, NONFINITE_INDEX, {}, NONFINITE_ROOT)


def list_shards(
    index: bytes, expect: Schema, *, shard_bytes: int = SHARD_BYTES
) -> tuple[ShardFile, ...]:
    """Name the shards to fetch for an index. Raises `BundleError` unless it fits the schema.

    The index of a NONFINITE result names none.
    """
    if index == NONFINITE_INDEX:
        return ()
    plans = plan_shards(expect, shard_bytes)
    cids, _ = decode_index(index, plans)
    return tuple(ShardFile(cid, plan.length) for cid, plan in zip(cids, plans, strict=True))


def read_bundle(
    index: bytes,
    shard_path_of: ShardPathOf,
    expect: Schema,
    expect_root: bytes,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Tensor]:
    """Read and verify a bundle from a stranger; a NONFINITE one holds no tensors.

    `expect` is the schema that the manifest gives, `expect_root` the result root that was agreed
    on. Raises `BundleError` for anything that is not, byte for byte, the canonical bundle of
    finite tensors with this schema and this root.
    """
    if index == NONFINITE_INDEX or expect_root == NONFINITE_ROOT:
        if index == NONFINITE_INDEX and expect_root == NONFINITE_ROOT:
            return {}
        raise BundleError(
            "The index and the root disagree on whether this result is NONFINITE",
            fix="Count it as not held.",
        )
    plans = plan_shards(expect, shard_bytes)
    cids, roots = decode_index(index, plans)
    paths = [shard_path_of(cid) for cid in cids]
    # Sizes and headers of every file come before the first allocation.
    for plan, path in zip(plans, paths, strict=True):
        _check_frame(plan, path)
    tensors: dict[str, Tensor] = {}
    for plan, path, cid in zip(plans, paths, cids, strict=True):
        for name, tensor in _read_shard(plan, path):
            if tensor_root(tensor) != roots[name]:
                raise _refuse(path, f"tensor {name!r} has another root than its index says")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise _refuse(path, f"tensor {name!r} holds a NaN or an infinity")
            tensors[name] = tensor
        if cid_of_file(path) != cid:
            raise _refuse(path, f"its CID is not {cid}")
    if _root_of(roots) != expect_root:
        raise BundleError(
            f"The tensors have another root than {expect_root.hex()}, which was agreed on",
            fix="Count it as not held.",
        )
    return tensors


def _root_of(roots: Mapping[str, bytes]) -> bytes:
    """Return the result root from tensor roots already computed; equals `result_root`."""
    return merkle.root([result_leaf(name, root) for name, root in sorted(roots.items())])


def _refuse(path: Path, reason: str) -> BundleError:
    return BundleError(
        f"{path} is not the canonical shard", why=reason, fix="Fetch it again elsewhere."
    )


def _check_frame(plan: ShardPlan, path: Path) -> None:
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size != plan.length:
            raise _refuse(path, f"it has {size} bytes instead of {plan.length}")
        if stream.read(len(plan.header)) != plan.header:
            raise _refuse(path, "its header differs from the one its tensors have")


def _read_shard(plan: ShardPlan, path: Path) -> Iterator[tuple[str, Tensor]]:
    with path.open("rb") as stream:
        for place in plan.places:
            stream.seek(place.offset)
            yield place.name, _read_tensor(stream, place, path)


def _read_tensor(stream: BufferedReader, place: Place, path: Path) -> Tensor:
    tensor = torch.empty(place.shape, dtype=place.dtype)
    if place.length:
        view = _bytes_of(tensor)
        # The file may shrink between the check and here; a short read leaves noise behind.
        if stream.readinto(view) != place.length:
            raise _refuse(path, f"it ends inside tensor {place.name!r}")
    return tensor


def _shard_parts(plan: ShardPlan, tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    yield plan.header
    for place in plan.places:
        yield _bytes_of(tensors[place.name].detach().cpu().contiguous())


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return a writable view of a contiguous tensor's bytes."""
    array = tensor.reshape(-1).view(torch.uint8).numpy()
    return array.data


def _write_file(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    # Written aside and renamed, so that a file under its final name is always whole.
    partial = path.with_name(f"{path.name}.part")
    with partial.open("wb") as stream:
        for part in parts:
            stream.write(part)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def _close(folder: Path, index: bytes, shards: Mapping[Path, Cid], root: bytes) -> Bundle:
    path = folder / INDEX_NAME
    _write_file(path, (index,))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    digest = hashlib.sha256(index).digest()
    return Bundle(path, tuple(shards), tuple(shards.values()), digest, root)
