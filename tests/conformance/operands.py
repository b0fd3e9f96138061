"""Operands and cases of the conformance vectors, and how the file writes them.

docs/conformance.md describes the format for implementers; this is the writer's side of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from tests.conformance.reference.binary32 import NAN, NonFiniteError, is_nan
from tests.conformance.reference.roots import tensor_root

WORD64 = (1 << 64) - 1
LARGEST_LISTED = 2000
"""Results with more elements than this are written as a root."""

EDGES = (
    *(0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x00000003, 0x007FFFFF, 0x807FFFFF),
    *(0x00800000, 0x80800000, 0x00800001, 0x01000000, 0x33800000, 0xB3800000, 0x34000000),
    *(0x3EFFFFFF, 0x3F000000, 0xBF000000, 0x3F7FFFFF, 0x3F800000, 0xBF800000, 0x3F800001),
    *(0x3FC00000, 0x40200000, 0xC0200000, 0x40490FDB, 0x42B17218, 0xC2AEAC50, 0xC2CFF1B5),
    *(0x4AFFFFFF, 0x4B000001, 0x4B800000, 0x4B800001, 0xCB800001, 0x5F000000, 0x1FFFFFFF),
    *(0x20000000, 0x7F000000, 0x7F7FFFFF, 0xFF7FFFFF),
)
"""Finite patterns where rounding, sign or range turns."""

SPECIALS = (0x7F800000, 0xFF800000, NAN, 0xFFC12345, 0x7F800001)
"""Infinities and NaNs of several payloads."""


class Later(Sequence[int]):
    """Values that are made when first asked for: some operands have millions."""

    def __init__(self, count: int, make: Callable[[], list[int]]) -> None:
        self._count, self._make = count, make
        self._made: list[int] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self[:])


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor: its values (patterns for float32) in row-major order, and how it is written."""

    dtype: str
    shape: tuple[int, ...]
    values: Sequence[int]
    written: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> list[Sequence[int]]:
        """Slices along the last axis, in order."""
        width = self.shape[-1]
        return [self.values[i * width : (i + 1) * width] for i in range(prod(self.shape[:-1]))]

    def json(self) -> dict[str, Any]:
        """As the file holds it."""
        return {"type": self.dtype, "shape": list(self.shape), **(self.written or self._listed())}

    def _listed(self) -> dict[str, Any]:
        if self.dtype != "float32":
            return {"values": " ".join(map(str, self.values))}
        return {"bits": "".join(f"{v:08x}" for v in self.values)}

    def result_json(self) -> dict[str, Any]:
        """The same as an expected result: NaN canonical, long ones as a root."""
        if len(self.values) > LARGEST_LISTED:
            root = tensor_root(self.dtype, self.shape, self.values).hex()
            return {"type": self.dtype, "shape": list(self.shape), "root": root}
        if self.dtype == "float32":
            canonical = [NAN if is_nan(v) else v for v in self.values]
            return Operand(self.dtype, self.shape, canonical).json()
        return self.json()


def floats(values: Sequence[int], *shape: int) -> Operand:
    """A listed binary32 tensor; a vector when no shape is given."""
    resolved = shape or (len(values),)
    assert prod(resolved) == len(values)
    return Operand("float32", resolved, list(values))


def scalar(value: int) -> Operand:
    """A binary32 tensor of no axes."""
    return Operand("float32", (), [value])


def integers(values: Sequence[int], *shape: int, dtype: str = "int64") -> Operand:
    """A listed tensor of integers."""
    resolved = shape or (len(values),)
    assert prod(resolved) == len(values)
    return Operand(dtype, resolved, list(values))


def mix(seed: int, index: int) -> int:
    """64 bits for an index: the finaliser of splitmix64 over (seed * 2^40 + index)."""
    z = (seed << 40) + index + 0x9E3779B97F4A7C15 & WORD64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD64
    return z ^ z >> 31


def pattern(seed: int, index: int, low: int, high: int) -> int:
    """A pattern with its exponent field in [low, high]: sign bit 63, exponent 32.., fraction."""
    z = mix(seed, index)
    exponent = low + (z >> 32 & 0x7FFFFFFF) % (high - low + 1)
    return z >> 63 << 31 | exponent << 23 | z & 0x7FFFFF


def drawn(
    seed: int, low: int, high: int, *shape: int, edits: Sequence[tuple[int, int]] = ()
) -> Operand:
    """A binary32 tensor by the recipe, some elements replaced by `edits` (index, pattern)."""
    count = prod(shape)
    written = {"recipe": {"seed": seed, "low": low, "high": high}}

    def make() -> list[int]:
        return _edited([pattern(seed, i, low, high) for i in range(count)], edits)

    return Operand("float32", shape, Later(count, make), _with_edits(written, edits))


def drawn_integers(seed: int, low: int, high: int, *shape: int) -> Operand:
    """int64 in [low, high] by the recipe: low + bits mod their number."""
    values = [low + mix(seed, i) % (high - low + 1) for i in range(prod(shape))]
    return Operand("int64", shape, values, {"recipe": {"seed": seed, "low": low, "high": high}})


def filled(value: int, *shape: int, edits: Sequence[tuple[int, int]] = ()) -> Operand:
    """A binary32 tensor of one pattern, some elements replaced."""
    written = {"fill": f"{value:08x}"}
    count = prod(shape)
    values = Later(count, lambda: _edited([value] * count, edits))
    return Operand("float32", shape, values, _with_edits(written, edits))


def filled_integers(value: int, *shape: int) -> Operand:
    """An int64 tensor of one value."""
    count = prod(shape)
    return Operand("int64", shape, Later(count, lambda: [value] * count), {"fill": value})


def _edited(values: list[int], edits: Sequence[tuple[int, int]]) -> list[int]:
    for index, value in edits:
        values[index] = value
    return values


def _with_edits(written: dict[str, Any], edits: Sequence[tuple[int, int]]) -> dict[str, Any]:
    if edits:
        written["edits"] = [[index, f"{value:08x}"] for index, value in edits]
    return written


Computation = Callable[[], Sequence[Operand]]


@dataclass(frozen=True, slots=True)
class Case:
    """One call: operation, operands, attributes, and the reference's answer."""

    name: str
    operation: str
    inputs: Sequence[Operand]
    compute: Computation
    attributes: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The line of the file; computes the answer."""
        expected: str | list[dict[str, Any]]
        try:
            expected = [result.result_json() for result in self.compute()]
        except NonFiniteError:
            expected = "NONFINITE"
        return {
            "name": self.name,
            "operation": self.operation,
            "attributes": self.attributes,
            "inputs": [operand.json() for operand in self.inputs],
            "expected": expected,
        }
