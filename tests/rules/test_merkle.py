"""The tree against RFC 6962's recursive definition, and proofs against every kind of forgery."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.rules import merkle

LEAVES = st.lists(st.binary(max_size=12), max_size=40)


def recursive_root(leaves: list[bytes]) -> bytes:
    """Section 2.1 of the RFC, word by word: split at the largest power of two below n."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = recursive_root(leaves[:k]), recursive_root(leaves[k:])
    return sha256(b"\x01" + left + right).digest()


@given(LEAVES)
def test_root_equals_the_recursive_definition(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == recursive_root(leaves)


def test_root_of_published_vectors_is_found() -> None:
    # The certificate-transparency reference vectors: an empty leaf, and the first three.
    leaves = [b"", b"\x00", b"\x10"]
    assert merkle.root(leaves[:1]).hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert merkle.root(leaves[:2]).hex() == (
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    )
    assert merkle.root(leaves).hex() == (
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )


@given(LEAVES.filter(bool), st.data())
def test_proof_verifies_for_its_own_leaf_only(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    expected, path = merkle.root(leaves), merkle.proof(leaves, index)
    size = len(leaves)
    assert merkle.verify(leaves[index], index, size, path, expected)
    assert not merkle.verify(leaves[index] + b"!", index, size, path, expected)
    assert not merkle.verify(leaves[index], index, size, [*path, bytes(32)], expected)
    assert not merkle.verify(leaves[index], index + size, size, path, expected)
    if path:
        assert not merkle.verify(leaves[index], index, size, path[:-1], expected)
        assert not merkle.verify(leaves[index], index, size, [bytes(32), *path[1:]], expected)
        assert not merkle.verify(leaves[index], index, size, [path[0][:31], *path[1:]], expected)


def test_inner_node_never_passes_for_a_leaf() -> None:
    leaves = [b"a", b"b", b"c", b"d"]
    node = merkle.leaf_hash(b"a") + merkle.leaf_hash(b"b")
    path = merkle.proof(leaves, 0)[1:]
    assert not merkle.verify(node, 0, 2, path, merkle.root(leaves))


@pytest.mark.parametrize("index", [-1, 3])
def test_proof_of_a_missing_leaf_raises(index: int) -> None:
    with pytest.raises(IndexError, match="of a tree of 3"):
        merkle.proof([b"a", b"b", b"c"], index)
