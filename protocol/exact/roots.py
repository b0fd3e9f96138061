"""Roots: what a tensor or a whole result hashes to, on every machine.

A tensor's tree has a header leaf (dtype and shape) and one leaf per 4 KiB of its little-endian
row-major bytes; every NaN counts as 0x7fc00000. A result's tree has one leaf per tensor, in name
order.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from protocol.exact.errors import NonFinite, UnsupportedDtype
from protocol.rules import merkle

LEAF_BYTES: Final = 4096
CANONICAL_NAN: Final = 0x7FC00000
_DTYPES: Final = {
    torch.float32: "float32",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.uint8: "uint8",
    torch.int8: "int8",
    torch.bool: "bool",
}


def tensor_root(t: Tensor) -> bytes:
    """32-byte root of a tensor's values, type and shape; storage order and device do not matter.

    Raises UnsupportedDtype outside the profile's types.
    """
    with _disable_current_modes():
        data = memoryview(canonical_bytes(t))
    digests = [merkle.leaf_hash(header(t))]
    digests += [
        merkle.leaf_hash(data[start : start + LEAF_BYTES])
        for start in range(0, len(data), LEAF_BYTES)
    ]
    return merkle.root_of_digests(digests)


def result_root(tensors: Mapping[str, Tensor]) -> bytes:
    """32-byte root of named tensors, independent of the mapping's order.

    Leaf: name length (4 bytes, big-endian), UTF-8 name, tensor root; ascending by name bytes.
    """
    named = sorted((name.encode(), t) for name, t in tensors.items())
    return merkle.root([result_leaf(name.decode(), tensor_root(t)) for name, t in named])


def result_leaf(name: str, root: bytes) -> bytes:
    """The leaf of one named tensor in a result's tree."""
    encoded = name.encode()
    return len(encoded).to_bytes(4, "big") + encoded + root


def header(t: Tensor) -> bytes:
    """First leaf of a tensor's tree: dtype and shape, such as `float32[2,3]`."""
    return f"{_dtype_name(t)}[{','.join(str(n) for n in t.shape)}]".encode()


def canonical_bytes(t: Tensor) -> bytes:
    """Little-endian row-major bytes with canonical NaNs."""
    _dtype_name(t)
    values = t.detach().cpu().contiguous()
    if values.dtype is torch.float32:
        bits = values.view(torch.int32)
        values = torch.where(torch.isnan(values), CANONICAL_NAN, bits) if bits.numel() else bits
    array = values.numpy()
    return (array if sys.byteorder == "little" else array.byteswap()).tobytes()


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise NonFinite naming the first task output, by name, that holds a NaN or an infinity."""
    for name in sorted(tensors):
        t = tensors[name]
        with _disable_current_modes():
            finite = not t.is_floating_point() or bool(torch.isfinite(t).all())
        if not finite:
            raise NonFinite("output", f"{name} holds a NaN or an infinity")


def _dtype_name(t: Tensor) -> str:
    name = _DTYPES.get(t.dtype)
    if name is None:
        raise UnsupportedDtype(str(t.dtype), "tensor_root", "the result")
    return name
