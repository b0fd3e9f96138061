"""The manifest: one byte form, and a refusal that names the field at fault."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.storage.cid import RAW
from protocol.storage.unixfs import cid_of_bytes
from protocol.training.canonical import encode_json
from protocol.training.errors import ManifestError
from protocol.training.manifest import Manifest

Path_ = tuple[str | int, ...]


@pytest.fixture
def tree(job: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(job.manifest.encode())
    return parsed


def walk(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    yield path, value
    if isinstance(value, dict):
        for name in value:
            yield from walk(value[name], (*path, name))
    elif isinstance(value, list):
        # One item stands for its equals.
        for i in range(min(1, len(value))):
            yield from walk(value[i], (*path, i))


def replaced(tree: Any, path: Path_, value: Any) -> bytes:
    if not path:
        return encode_json(value)
    changed = copy.deepcopy(tree)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return encode_json(changed)


def spelt(path: Path_) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "manifest" + "".join(steps)


def test_manifest_round_trips(job: Any) -> None:
    data = job.manifest.encode()
    assert Manifest.parse(data) == job.manifest
    assert Manifest.parse(data).encode() == data


def test_digest_is_that_of_the_manifest_cid(job: Any) -> None:
    data = job.manifest.encode()
    assert job.manifest.digest() == hashlib.sha256(data).digest() == cid_of_bytes(data).digest
    assert cid_of_bytes(data).codec == RAW


def test_every_value_of_a_wrong_type_is_refused_by_name(tree: Any) -> None:
    seen = 0
    for path, value in walk(tree):
        for wrong in (None, True, -1, "x" * 70, [], {}, [[]], {"x": 1}):
            if type(wrong) is type(value) and wrong == value:
                continue
            with pytest.raises(ManifestError) as caught:
                Manifest.parse(replaced(tree, path, wrong))
            assert caught.value.path.startswith(spelt(path)), (path, wrong)
            assert caught.value.found
            assert caught.value.expected
            assert caught.value.fix
            seen += 1
    assert seen > 300


def test_every_missing_field_is_refused_by_name(tree: Any) -> None:
    for path, value in walk(tree):
        if not isinstance(value, dict):
            continue
        for name in value:
            rest = {key: inner for key, inner in value.items() if key != name}
            with pytest.raises(ManifestError) as caught:
                Manifest.parse(replaced(tree, path, rest))
            assert caught.value.path == f"{spelt(path)}.{name}"
            assert caught.value.found == "nothing"


def test_every_unknown_field_is_refused_by_name(tree: Any) -> None:
    for path, value in walk(tree):
        if isinstance(value, dict):
            with pytest.raises(ManifestError) as caught:
                Manifest.parse(replaced(tree, path, value | {"zz": 1}))
            assert caught.value.path == f"{spelt(path)}.zz"


@pytest.mark.parametrize(
    ("path", "value", "at"),
    [
        (("version",), 2, ""),
        (("name",), "<script>", ""),
        (("name",), "", ""),
        (("name",), "a\n", ""),
        (("model", "family"), "gpt3", ""),
        (("model", "config", "layers"), 97, ""),
        (("model", "config", "heads"), 3, ""),
        (("model", "config", "width"), 1 << 20, ""),
        (("model", "config", "activation"), "eval", ""),
        (("model", "config", "attention_scale"), "0x0p+0", ""),
        (("model", "config", "attention_scale"), "0.25", ""),
        (("model", "config", "layer_norm_epsilon"), "-0x1p-10", ""),
        (("model", "config", "vocabulary"), 1 << 17, "manifest.data.token_bytes"),
        (("model", "config", "positions"), 8, "manifest.sequence_length"),
        (("tokenizer", "kind"), "bpe", ""),
        (("tokenizer", "cid"), "x", "manifest.tokenizer.kind"),
        (("profile", "b"), 15, ""),
        (("profile", "kb"), 768, ""),
        (("profile", "name"), "exact-2", ""),
        (("program", "name"), "other", ""),
        (("program", "root"), "00" * 31, ""),
        (("program", "root"), "AB" * 32, ""),
        (("data", "token_bytes"), 3, ""),
        (("data", "token_bytes"), 4, "manifest.data.shards[0].length"),
        (("data", "shards", 0, "length"), 1 << 31, ""),
        (("data", "shards", 0, "tokens"), 5, "manifest.data.shards[0].length"),
        (("data", "shards", 0, "cid"), "bafkrei", ""),
        (("sequence_length",), 0, ""),
        (("sequence_length",), 1 << 17, ""),
        (("batch", "sequences"), 0, ""),
        (("batch", "sequences"), 3, "manifest.evaluation.sequences"),
        (("batch", "micro_batches"), 1 << 11, ""),
        (("rounds",), 5, "manifest.optimiser.rows"),
        (("rounds",), 1 << 14, ""),
        (("tasks",), 257, ""),
        (("tasks",), 0, ""),
        (("order_seed",), 1 << 53, ""),
        (("optimiser", "name"), "sgd", ""),
        (("optimiser", "rows", 0, 0), "0x1.8p+0", ""),
        (("optimiser", "rows", 0, 5), "-0x1p+0", ""),
        (("optimiser", "rows", 0, 7), "0x0p+0", ""),
        (("optimiser", "rows", 0, 6), "nan", ""),
        (("aggregation", "rule"), "sum", ""),
        (("aggregation", "norm_clip"), "0x0p+0", ""),
        (("aggregation", "norm_clip"), "0x1p+30", ""),
        (("evaluation", "sequences"), 4096, ""),
        (("genesis", "root"), "zz" * 32, ""),
    ],
)
def test_value_out_of_range_is_refused_by_name(tree: Any, path: Path_, value: Any, at: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.parse(replaced(tree, path, value))
    assert caught.value.path == (at or spelt(path))


def test_encoding_refuses_what_would_not_parse(job: Any) -> None:
    for change in ({"rounds": 9}, {"name": "<b>"}, {"tasks": 10**9}):
        with pytest.raises(ManifestError):
            dataclasses.replace(job.manifest, **change).encode()


def test_encoding_refuses_a_float_that_is_not_binary32(job: Any) -> None:
    clip = dataclasses.replace(job.manifest.aggregation, norm_clip=0.1)
    with pytest.raises(ManifestError, match="binary32"):
        dataclasses.replace(job.manifest, aggregation=clip).encode()
