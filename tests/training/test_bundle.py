"""Bundles: files are a function of the tensors, and nothing else is ever accepted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from torch import Tensor

from protocol.exact import result_root
from protocol.rules.sealing import NONFINITE_ROOT
from protocol.storage.cid import RAW, Cid
from protocol.storage.unixfs import cid_of_bytes, cid_of_file
from protocol.training.bundle import (
    NONFINITE_INDEX,
    list_shards,
    read_bundle,
    schema_of,
    write_bundle,
    write_nonfinite,
)
from protocol.training.canonical import encode_json
from protocol.training.errors import BundleError, IndexRefused

SHARD = 96


def some_tensors() -> dict[str, Tensor]:
    return {
        "b": torch.arange(12, dtype=torch.float32).reshape(3, 4),
        "a.weight": torch.tensor([[-0.0, 1e-45], [3.4e38, -1.0]]),
        "step": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "z": torch.arange(40, dtype=torch.float32),
    }


@pytest.fixture
def written(tmp_path: Path) -> Any:
    tensors = some_tensors()
    bundle = write_bundle(tensors, tmp_path / "bundle", shard_bytes=SHARD)
    return tensors, bundle, dict(zip(bundle.shard_cids, bundle.shard_paths, strict=True))


def read(
    tensors: dict[str, Tensor], index: bytes, paths: Callable[[Cid], Path], root: bytes
) -> dict[str, Tensor]:
    return read_bundle(index, paths, schema_of(tensors), root, shard_bytes=SHARD)


def test_bundle_round_trips_bit_for_bit(written: Any) -> None:
    tensors, bundle, paths = written
    back = read(tensors, bundle.index_path.read_bytes(), paths.__getitem__, bundle.root)
    assert len(bundle.shard_paths) > 1
    assert back.keys() == tensors.keys()
    assert result_root(back) == bundle.root == result_root(tensors)
    assert torch.signbit(back["a.weight"][0, 0])


def test_shard_is_what_the_safetensors_library_writes(tmp_path: Path) -> None:
    tensors = some_tensors()
    bundle = write_bundle(tensors, tmp_path)
    assert bundle.shard_paths[0].read_bytes() == save(tensors)
    assert load_file(bundle.shard_paths[0]).keys() == tensors.keys()


def test_index_digest_names_its_raw_block(written: Any) -> None:
    _, bundle, _ = written
    cid = cid_of_file(bundle.index_path)
    assert (cid.codec, cid.digest) == (RAW, bundle.index_digest)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=4),
        st.lists(st.integers(0, 5), max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 400),
)
def test_any_schema_round_trips(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]], most: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    tensors = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    bundle = write_bundle(tensors, folder, shard_bytes=most)
    paths = dict(zip(bundle.shard_cids, bundle.shard_paths, strict=True))
    index = bundle.index_path.read_bytes()
    back = read_bundle(index, paths.__getitem__, schema_of(tensors), bundle.root, shard_bytes=most)
    assert result_root(back) == bundle.root
    shuffled = dict(reversed(tensors.items()))
    assert write_bundle(shuffled, folder, shard_bytes=most).cid == bundle.cid


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for name in value for leaf in leaves(value[name], (*path, name))]
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*path, i))]
    return [path]


def changed_at(index: bytes, path: tuple[Any, ...]) -> bytes:
    tree = json.loads(index)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    old = parent[path[-1]]
    if path[-1] == "cid":
        parent["cid"] = str(cid_of_bytes(b"other"))
    elif path[-1] == "root":
        parent["root"] = "00" * 32
    elif isinstance(old, int):
        parent[path[-1]] = old + 1
    else:
        parent[path[-1]] = "U8"
    return encode_json(tree)


def test_every_changed_field_of_the_index_is_refused(written: Any) -> None:
    tensors, bundle, paths = written
    index = bundle.index_path.read_bytes()
    every = leaves(json.loads(index))
    assert len(every) > 30
    first = bundle.shard_paths[0]
    for path in every:
        # A store that serves the right file under a wrong name changes nothing.
        with pytest.raises(BundleError):
            read(tensors, changed_at(index, path), lambda cid: paths.get(cid, first), bundle.root)


def test_every_removed_or_added_field_of_the_index_is_refused(written: Any) -> None:
    tensors, bundle, paths = written
    tree = json.loads(bundle.index_path.read_bytes())
    for change in (
        {"shards": tree["shards"][:-1]},
        {"shards": tree["shards"] * 2},
        {"shards": tree["shards"][::-1]},
        {"tensors": {n: t for n, t in tree["tensors"].items() if n != "b"}},
        {"tensors": tree["tensors"] | {"more": tree["tensors"]["b"]}},
        {"extra": 1},
    ):
        with pytest.raises(IndexRefused):
            read(tensors, encode_json(tree | change), paths.__getitem__, bundle.root)


def test_every_flipped_byte_of_a_shard_is_refused(written: Any) -> None:
    tensors, bundle, paths = written
    index = bundle.index_path.read_bytes()
    path = bundle.shard_paths[0]
    original = path.read_bytes()
    for at in range(0, len(original), 3):
        path.write_bytes(original[:at] + bytes([original[at] ^ 1]) + original[at + 1 :])
        with pytest.raises(BundleError):
            read(tensors, index, paths.__getitem__, bundle.root)


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b""])
def test_shard_of_another_length_is_refused(written: Any, change: Callable[[bytes], bytes]) -> None:
    tensors, bundle, paths = written
    path = bundle.shard_paths[-1]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BundleError, match="bytes instead of"):
        read(tensors, bundle.index_path.read_bytes(), paths.__getitem__, bundle.root)


def replaced_shard(written: Any, content: bytes) -> tuple[bytes, dict[Cid, Path]]:
    """Publish other bytes as the last shard, under their own true CID."""
    _, bundle, paths = written
    path = bundle.shard_paths[-1]
    path.write_bytes(content)
    tree = json.loads(bundle.index_path.read_bytes())
    tree["shards"][-1]["cid"] = str(cid_of_file(path))
    return encode_json(tree), paths | {cid_of_file(path): path}


def test_other_values_under_the_true_roots_are_refused(written: Any) -> None:
    tensors, bundle, _ = written
    content = bundle.shard_paths[-1].read_bytes()
    index, paths = replaced_shard(written, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match="another root than its index says"):
        read(tensors, index, paths.__getitem__, bundle.root)


def test_another_header_under_a_true_cid_is_refused(written: Any) -> None:
    tensors, bundle, _ = written
    content = bundle.shard_paths[-1].read_bytes()
    # Padding moved from the end of the header into it: the same JSON, the same length.
    assert content.count(b"} ") == 1
    index, paths = replaced_shard(written, content.replace(b"} ", b" }"))
    with pytest.raises(BundleError, match="header"):
        read(tensors, index, paths.__getitem__, bundle.root)


def test_more_bytes_under_a_true_cid_are_refused(written: Any) -> None:
    tensors, bundle, _ = written
    index, paths = replaced_shard(written, bundle.shard_paths[-1].read_bytes() + b"\0")
    with pytest.raises(BundleError, match="bytes instead of"):
        read(tensors, index, paths.__getitem__, bundle.root)


def test_mislabelled_shard_is_refused(written: Any) -> None:
    tensors, bundle, paths = written
    tree = json.loads(bundle.index_path.read_bytes())
    wrong = cid_of_bytes(b"other")
    tree["shards"][-1]["cid"] = str(wrong)
    served = paths | {wrong: bundle.shard_paths[-1]}
    with pytest.raises(BundleError, match="its CID is not"):
        read(tensors, encode_json(tree), served.__getitem__, bundle.root)


def test_another_root_is_refused(written: Any) -> None:
    tensors, bundle, paths = written
    with pytest.raises(BundleError, match="another root"):
        read(tensors, bundle.index_path.read_bytes(), paths.__getitem__, bytes(32))


def test_another_schema_is_refused_before_anything_is_read(written: Any) -> None:
    tensors, bundle, _ = written
    index = bundle.index_path.read_bytes()

    def never(_cid: Cid) -> Path:
        raise AssertionError("a shard was asked for")

    for other in (
        tensors | {"b": torch.zeros(4, 3)},
        tensors | {"b": torch.zeros(3, 4, dtype=torch.int64)},
        tensors | {"c": torch.zeros(1)},
        {name: t for name, t in tensors.items() if name != "b"},
    ):
        with pytest.raises(BundleError):
            read(other, index, never, bundle.root)


def test_size_bomb_is_refused_before_it_is_allocated(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, bundle, paths = written
    allocated: list[Any] = []
    real = torch.empty

    def counting(*args: Any, **kwargs: Any) -> Tensor:
        allocated.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(torch, "empty", counting)
    with bundle.shard_paths[-1].open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse: a terabyte that takes no disk
    with pytest.raises(BundleError):
        read(tensors, bundle.index_path.read_bytes(), paths.__getitem__, bundle.root)
    for bomb in (1 << 60, -1, 10**30):
        tree = json.loads(bundle.index_path.read_bytes())
        tree["tensors"]["b"]["shape"] = [bomb, 4]
        with pytest.raises(BundleError):
            read(tensors, encode_json(tree), paths.__getitem__, bundle.root)
    with pytest.raises(BundleError):
        read(tensors, b"[" * (2 << 20), paths.__getitem__, bundle.root)
    assert allocated == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_tensor_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    tensors = {"a": torch.tensor([1.0, value])}
    bundle = write_bundle(tensors, tmp_path, shard_bytes=SHARD)
    paths = dict(zip(bundle.shard_cids, bundle.shard_paths, strict=True))
    with pytest.raises(BundleError, match="NaN or an infinity"):
        read(tensors, bundle.index_path.read_bytes(), paths.__getitem__, bundle.root)


def test_shards_to_fetch_are_named_with_their_lengths(written: Any) -> None:
    tensors, bundle, paths = written
    index = bundle.index_path.read_bytes()
    listed = list_shards(index, schema_of(tensors), shard_bytes=SHARD)
    assert [(shard.cid, shard.length) for shard in listed] == [
        (cid, path.stat().st_size) for cid, path in paths.items()
    ]


def test_nonfinite_result_has_one_bundle(tmp_path: Path, written: Any) -> None:
    tensors, bundle, paths = written
    empty = write_nonfinite(tmp_path / "nonfinite")
    assert empty.index_path.read_bytes() == NONFINITE_INDEX
    assert empty.root == NONFINITE_ROOT
    assert read(tensors, NONFINITE_INDEX, paths.__getitem__, NONFINITE_ROOT) == {}
    assert list_shards(NONFINITE_INDEX, schema_of(tensors)) == ()
    for index, root in (
        (NONFINITE_INDEX, bundle.root),
        (bundle.index_path.read_bytes(), NONFINITE_ROOT),
    ):
        with pytest.raises(BundleError):
            read(tensors, index, paths.__getitem__, root)


def test_type_that_no_bundle_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="float64"):
        write_bundle({"a": torch.zeros(2, dtype=torch.float64)}, tmp_path)
    with pytest.raises(BundleError):
        write_bundle({}, tmp_path)
