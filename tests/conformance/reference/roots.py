"""Roots of tensors and results: RFC 6962 trees, written out once more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from tests.conformance.reference.binary32 import NAN, is_nan

WIDTHS = {"float32": 4, "int64": 8, "int32": 4, "uint8": 1, "int8": 1, "bool": 1}
LEAF = 4096


def tree(leaves: Sequence[bytes]) -> bytes:
    """Split at the largest power of two below the number of leaves, as RFC 6962 says."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree(leaves[:split]) + tree(leaves[split:])).digest()


def tensor_root(dtype: str, shape: Sequence[int], values: Sequence[int]) -> bytes:
    """`values` are patterns for float32, else integers, in row-major order."""
    width = WIDTHS[dtype]
    if dtype == "float32":
        values = [NAN if is_nan(v) else v for v in values]
    mask = (1 << 8 * width) - 1
    data = b"".join((v & mask).to_bytes(width, "little") for v in values)
    header = f"{dtype}[{','.join(map(str, shape))}]".encode("ascii")
    return tree([header, *(data[i : i + LEAF] for i in range(0, len(data), LEAF))])


def result_root(roots: Mapping[str, bytes]) -> bytes:
    """Root of named tensors, given the tensors' roots."""
    named = sorted((name.encode("utf-8"), root) for name, root in roots.items())
    return tree([len(name).to_bytes(4, "big") + name + root for name, root in named])
