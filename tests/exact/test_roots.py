"""Roots commit to values, types, shapes and names, and to nothing else."""

from __future__ import annotations

import struct
from hashlib import sha256

import pytest
import torch

from protocol.exact import NonFinite, exact, require_finite, result_leaf, result_root, tensor_root
from protocol.rules import merkle
from tests.support.exact_tensors import INFINITY, NAN, from_bits, layouts


def test_tensor_root_is_the_tree_of_header_and_pages() -> None:
    count = 3000  # 12,000 bytes: three pages, the last one short
    data = b"".join(struct.pack("<f", float(i)) for i in range(count))
    pages = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    assert tensor_root(torch.arange(float(count)).reshape(30, 100)) == merkle.root(
        [b"float32[30,100]", *pages]
    )
    one = struct.pack("<q", -5)
    assert tensor_root(torch.tensor(-5)) == merkle.root([b"int64[]", one])
    assert tensor_root(torch.zeros(0, 2)) == merkle.root([b"float32[0,2]"])
    assert tensor_root(torch.zeros(0, 2)) == sha256(b"\x00float32[0,2]").digest()


def test_root_depends_on_value_type_and_shape() -> None:
    same = torch.zeros(4)
    others = [
        torch.zeros(2, 2),
        torch.zeros(4, dtype=torch.int32),
        torch.tensor([0.0, 0.0, 0.0, -0.0]),
        torch.zeros(5),
        torch.zeros(4, dtype=torch.bool),
    ]
    assert len({tensor_root(t) for t in [same, *others]}) == 6


def test_root_does_not_depend_on_layout() -> None:
    x = torch.arange(24.0).reshape(4, 6)
    assert {tensor_root(view) for view in layouts(x).values()} == {tensor_root(x)}
    with exact():
        assert tensor_root(x.t()) == tensor_root(x.t().contiguous())
    assert tensor_root(x.requires_grad_()) == tensor_root(x.detach())


def test_root_counts_every_nan_as_one() -> None:
    want = tensor_root(from_bits([NAN, INFINITY]))
    for nan in (0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF):
        assert tensor_root(from_bits([nan, INFINITY])) == want


def test_result_root_binds_names_and_ignores_order() -> None:
    a, b = torch.zeros(2), torch.ones(2)
    root = result_root({"a": a, "b": b})
    assert result_root({"b": b, "a": a}) == root
    assert result_root({"a": b, "b": a}) != root
    assert result_root({"a": a, "c": b}) != root
    assert result_root({"a": a}) != root
    leaves = [b"\0\0\0\1a" + tensor_root(a), b"\0\0\0\1b" + tensor_root(b)]
    assert root == merkle.root(leaves)
    assert result_leaf("a", tensor_root(a)) == leaves[0]


@pytest.mark.parametrize("bits", [NAN, INFINITY, 0xFF800000])
def test_non_finite_output_is_named(bits: int) -> None:
    good = {"a": torch.ones(3), "n": torch.tensor(3)}
    require_finite(good)
    with pytest.raises(NonFinite, match="loss"):
        require_finite(good | {"loss": from_bits([bits])})
