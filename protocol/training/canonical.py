"""Canonical JSON: one byte form per document, and a reader that trusts nothing.

Stands under the job manifest and the bundle index. Sorted keys, no white space, ASCII, integers
and strings only; a float is the C99 hexadecimal text of an exact binary32 value.
INVARIANT: a document that was read encodes to the very bytes it was read from, so its SHA-256
names its meaning.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from protocol.storage.cid import Cid
from protocol.storage.errors import MalformedCid
from protocol.training.errors import DocumentError

# A document fits one raw block, so that its CID is the SHA-256 of its bytes.
MAX_DOCUMENT_BYTES: Final = 1 << 20
# Beyond 2^53 - 1 the JSON readers of other languages lose digits.
MAX_DEPTH: Final = 32
MAX_INTEGER: Final = (1 << 53) - 1
_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def encode_json(value: object) -> bytes:
    """Encode dictionaries, lists, integers and strings in their one byte form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def round_to_float32(value: float) -> float:
    """Round to the nearest binary32 value, as a Python float. Raises OverflowError beyond it."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def encode_float(value: float) -> str:
    """Write a finite binary32 value as C99 `%a` does: `0.1f` is `0x1.99999ap-4`.

    Raises ValueError when the value is not finite or not exactly a binary32 value.
    """
    if value - value != 0 or round_to_float32(value) != value:
        raise ValueError(f"{value!r} is not a finite binary32 value; round it first")
    mantissa, exponent = value.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}"


def decode_float(text: str) -> float:
    """Read what `encode_float` wrote. Raises ValueError for any other spelling."""
    # Bounded before it is parsed: the longest spelling of a binary32 value has 17 characters.
    if len(text) > 24:
        raise ValueError("too long for a binary32 value")
    try:
        value = float.fromhex(text)
        spelling = encode_float(value)
    except OverflowError as error:
        raise ValueError("beyond binary32") from error
    if spelling != text:
        raise ValueError(f"not the canonical spelling {spelling!r}")
    return value


class Node:
    """One value of a parsed document and the path that leads to it.

    Every accessor checks the type and the bounds and raises the document's own error.
    """

    __slots__ = ("_error", "_value", "path")

    def __init__(self, value: object, path: str, error: type[DocumentError]) -> None:
        self._value = value
        self._error = error
        self.path = path

    def refuse(self, expected: str, found: str | None = None) -> NoReturn:
        """Raise the document's error at this path."""
        raise self._error(self.path, found or _describe(self._value), expected)

    def fields(self, *names: str) -> dict[str, Node]:
        """Read an object with exactly these fields."""
        present = self._object()
        for name in present:
            if name not in names:
                at = Node(present[name], f"{self.path}.{_shorten(name)}", self._error)
                at.refuse(f"only the fields {', '.join(sorted(names))}", "an unknown field")
        for name in names:
            if name not in present:
                Node(None, f"{self.path}.{name}", self._error).refuse("this field", "nothing")
        return {name: Node(present[name], f"{self.path}.{name}", self._error) for name in names}

    def has(self, name: str) -> bool:
        """Tell whether an object has a field."""
        return name in self._object()

    def entries(self, most: int) -> Iterator[tuple[str, Node]]:
        """Read an object with free names, at most `most` of them."""
        present = self._object()
        if len(present) > most:
            self.refuse(f"at most {most} entries", f"{len(present)} entries")
        for name, value in present.items():
            yield name, Node(value, f"{self.path}.{_shorten(name)}", self._error)

    def items(self, least: int, most: int) -> list[Node]:
        """Read an array of `least` to `most` values."""
        if not isinstance(self._value, list):
            self.refuse("an array")
        if not least <= len(self._value) <= most:
            self.refuse(f"{least} to {most} items", f"{len(self._value)} items")
        return [Node(v, f"{self.path}[{i}]", self._error) for i, v in enumerate(self._value)]

    def integer(self, least: int, most: int) -> int:
        """Read an integer within bounds (true and false are no integers)."""
        if type(self._value) is not int:
            self.refuse("an integer")
        if not least <= self._value <= most:
            self.refuse(f"an integer from {least} to {most}")
        return self._value

    def text(self, pattern: str, meaning: str) -> str:
        """Read a string that matches a whole regular expression."""
        if not isinstance(self._value, str):
            self.refuse("a string")
        if not re.fullmatch(pattern, self._value):
            self.refuse(meaning)
        return self._value

    def choice(self, *options: str) -> str:
        """Read one of some words."""
        if self._value not in options or not isinstance(self._value, str):
            self.refuse(" or ".join(repr(option) for option in options))
        return self._value

    def number(self, least: float, most: float) -> float:
        """Read a hexadecimal binary32 value within bounds."""
        if not isinstance(self._value, str):
            self.refuse("a hexadecimal float in a string, like '0x1.8p-3'")
        try:
            value = decode_float(self._value)
        except ValueError as error:
            self.refuse(f"the canonical hexadecimal float of a binary32 value ({error})")
        if not least <= value <= most:
            self.refuse(f"a value from {least!r} to {most!r}", repr(value))
        return value

    def digest(self) -> bytes:
        """Read 32 bytes as 64 lower-case hexadecimal digits."""
        if not isinstance(self._value, str) or not _HEX_DIGEST.fullmatch(self._value):
            self.refuse("64 lower-case hexadecimal digits")
        return bytes.fromhex(self._value)

    def cid(self) -> Cid:
        """Read a content identifier in its one text form."""
        if not isinstance(self._value, str):
            self.refuse("a content identifier in a string")
        try:
            return Cid.parse(self._value)
        except MalformedCid as error:
            self.refuse(f"a content identifier ({error})")

    def _object(self) -> dict[str, Any]:
        if not isinstance(self._value, dict):
            self.refuse("an object")
        return self._value


def read_document(data: bytes, name: str, error: type[DocumentError]) -> Node:
    """Parse canonical JSON into its root node.

    Raises `error` when the bytes are too many, no JSON, or not the canonical form.
    """

    def refuse(found: str, expected: str) -> NoReturn:
        raise error(name, found, expected)

    def no_float(text: str) -> NoReturn:
        refuse(f"the number {_shorten(text)}", "integers, and floats as hexadecimal strings")

    if len(data) > MAX_DOCUMENT_BYTES:
        refuse(f"{len(data)} bytes", f"at most {MAX_DOCUMENT_BYTES}")
    if _depth(data) > MAX_DEPTH:
        refuse(f"more than {MAX_DEPTH} levels of nesting", "a document that a reader survives")
    try:
        value = json.loads(data.decode("ascii"), parse_float=no_float, parse_constant=no_float)
    except (ValueError, RecursionError) as cause:
        refuse(f"bytes that are no ASCII JSON ({_shorten(str(cause))})", "canonical JSON")
    # This also refuses duplicate keys, which vanish in parsing, and every escaped spelling.
    if encode_json(value) != data:
        refuse("another spelling", "canonical JSON: sorted unique keys, no white space, ASCII")
    return Node(value, name, error)


def _depth(data: bytes) -> int:
    """Deepest nesting, brackets in strings included: no honest document has many of those."""
    # The JSON parser recurses; with a lifted recursion limit (protocol/__init__.py) a
    # deep document would overflow the C stack and end the process.
    depth = deepest = 0
    for bracket in re.finditer(rb"[\[\]{}]", data):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _shorten(text: str) -> str:
    # Hostile text reaches logs and pages: printable ASCII only, and not much of it.
    text = ascii(text)[1:-1]
    return text if len(text) <= 60 else f"{text[:60]}..."


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    return f"{type(value).__name__} {_shorten(str(value))!r}"
