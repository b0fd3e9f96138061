"""Merkle trees over byte strings, as RFC 6962 defines them.

Every commitment of the protocol is a root of this tree: leaf `SHA256(0x00 || data)`, node
`SHA256(0x01 || left || right)`, an odd node is promoted unchanged. The two prefixes keep a node
from being passed off as a leaf; the number of leaves is part of what a verifier must know.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

DIGEST_BYTES: Final = 32


def leaf_hash(data: bytes | memoryview) -> bytes:
    """Hash one leaf."""
    digest = sha256(b"\x00")
    digest.update(data)
    return digest.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node from the digests of its children."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of the tree over `leaves`; of no leaves, the SHA-256 of nothing."""
    return root_of_digests([leaf_hash(leaf) for leaf in leaves])


def root_of_digests(digests: Sequence[bytes]) -> bytes:
    """Root of the tree whose leaf digests are already computed (for leaves that are streamed)."""
    if not digests:
        return sha256(b"").digest()
    level = list(digests)
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Audit path of leaf `index`, from the leaf's sibling up to the root's child.

    Raises IndexError when there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of a tree of {len(leaves)} leaves")
    level = [leaf_hash(leaf) for leaf in leaves]
    path: list[bytes] = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):  # a promoted node has no sibling on this level
            path.append(level[sibling])
        level = _next_level(level)
        index >>= 1
    return path


def verify(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> bool:
    """Whether `path` proves that `leaf` is leaf `index` of the `size`-leaf tree `expected`."""
    if not 0 <= index < size:
        return False
    digest = leaf_hash(leaf)
    rest = iter(path)
    width = size
    while width > 1:
        if index ^ 1 < width:
            sibling = next(rest, None)
            if sibling is None or len(sibling) != DIGEST_BYTES:
                return False
            digest = node_hash(sibling, digest) if index & 1 else node_hash(digest, sibling)
        index >>= 1
        width = (width + 1) >> 1
    return next(rest, None) is None and digest == expected


def _next_level(level: list[bytes]) -> list[bytes]:
    paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return paired + level[-1:] if len(level) & 1 else paired
