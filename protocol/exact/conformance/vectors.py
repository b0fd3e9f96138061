"""The conformance vectors as tensors: reading the file, its recipes, and comparing results.

docs/conformance.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import prod
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from protocol.exact.roots import canonical_bytes, tensor_root

NONFINITE: Final = "NONFINITE"

TYPES: Final = {
    "float32": torch.float32,
    "int64": torch.int64,
    "int32": torch.int32,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One call with its answer, as the file holds it; tensors are made when asked for."""

    name: str
    operation: str
    attributes: Mapping[str, Any]
    written_inputs: Sequence[Mapping[str, Any]]
    expected: str | Sequence[Mapping[str, Any]]

    def inputs(self, device: torch.device) -> list[Tensor]:
        """The operands on `device`."""
        return [decode(written).to(device) for written in self.written_inputs]

    def difference(self, got: str | Sequence[Tensor]) -> str | None:
        """The first difference between results (or NONFINITE) and the answer, in words."""
        if isinstance(got, str) or isinstance(self.expected, str):
            names = [x if isinstance(x, str) else "results" for x in (self.expected, got)]
            return None if names[0] == names[1] else f"expected {names[0]}, got {names[1]}"
        if len(got) != len(self.expected):
            return f"expected {len(self.expected)} results, got {len(got)}"
        for number, (tensor, written) in enumerate(zip(got, self.expected, strict=True)):
            found = _difference(tensor, written)
            if found:
                return f"result {number}{found}"
        return None


def load() -> list[Case]:
    """Every case of the committed file, in its order."""
    text = files("protocol.exact.conformance").joinpath("vectors.json").read_text("utf-8")
    return [
        Case(c["name"], c["operation"], c["attributes"], c["inputs"], c["expected"])
        for c in json.loads(text)["cases"]
    ]


def decode(written: Mapping[str, Any]) -> Tensor:
    """A written tensor: listed, filled or drawn by the recipe, then edited."""
    dtype, shape = TYPES[written["type"]], list(written["shape"])
    if dtype is torch.float32:
        bits = _bits(written, prod(shape))
        for index, pattern in written.get("edits", ()):
            bits[index] = _signed(int(pattern, 16))
        return bits.view(torch.float32).reshape(shape)
    if "fill" in written:
        return torch.full(shape, written["fill"], dtype=dtype)
    if "recipe" in written:
        recipe: Mapping[str, int] = written["recipe"]
        words = _mixed(recipe["seed"], prod(shape))
        # The unsigned remainder, for fewer values than 2^31: the high half first.
        count = recipe["high"] - recipe["low"] + 1
        high, low = _shifted(words, 32), words & 0xFFFFFFFF
        return ((high % count << 32 | low) % count + recipe["low"]).reshape(shape)
    values = [int(word) for word in written["values"].split()]
    return torch.tensor(values, dtype=torch.int64).to(dtype).reshape(shape)


def _bits(written: Mapping[str, Any], count: int) -> Tensor:
    if "fill" in written:
        return torch.full((count,), _signed(int(written["fill"], 16)), dtype=torch.int32)
    if "recipe" in written:
        recipe: Mapping[str, int] = written["recipe"]
        z = _mixed(recipe["seed"], count)
        span = recipe["high"] - recipe["low"] + 1
        exponent = recipe["low"] + (_shifted(z, 32) & 0x7FFFFFFF) % span
        return ((_shifted(z, 63) << 31) | (exponent << 23) | (z & 0x7FFFFF)).to(torch.int32)
    words = np.frombuffer(bytes.fromhex(written["bits"]), dtype=">u4")
    return torch.from_numpy(words.astype(np.uint32).view(np.int32))


def _mixed(seed: int, count: int) -> Tensor:
    """The finaliser of splitmix64 over seed * 2^40 + index; int64 wraps as uint64 does."""
    z = torch.arange(count, dtype=torch.int64) + _signed64((seed << 40) + 0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _signed64(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed64(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, places: int) -> Tensor:
    """A shift to the right that brings in zeros."""
    return (z >> places) & ((1 << 64 - places) - 1)


def _signed(pattern: int) -> int:
    return pattern - (1 << 32) if pattern >> 31 else pattern


def _signed64(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def _difference(got: Tensor, written: Mapping[str, Any]) -> str | None:
    dtype, shape = TYPES[written["type"]], list(written["shape"])
    if got.dtype is not dtype or list(got.shape) != shape:
        return f": expected {written['type']}{shape}, got {got.dtype}{list(got.shape)}"
    if "root" in written:
        root = tensor_root(got).hex()
        return None if root == written["root"] else f": expected {written['root']}, got {root}"
    want = decode(written)
    if canonical_bytes(got) == canonical_bytes(want):
        return None
    pairs = zip(elements(got), elements(want), strict=True)
    place, (found, right) = next((i, p) for i, p in enumerate(pairs) if p[0] != p[1])
    at = [int(i) for i in np.unravel_index(place, shape)]
    return f", element {at}: expected {right}, got {found}"


def elements(t: Tensor) -> Iterator[str]:
    """Elements in row-major order as text: patterns of floats (NaN canonical), integers."""
    if t.dtype is torch.float32:
        words = np.frombuffer(canonical_bytes(t), dtype="<u4").tolist()
        yield from (f"{word:08x}" for word in words)
    else:
        yield from (str(int(value)) for value in t.reshape(-1).tolist())
