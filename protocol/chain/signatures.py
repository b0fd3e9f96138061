"""Canonical ABI types and signatures, from the entries of a compiled contract's ABI."""

from typing import Any


def canonical_type(entry: dict[str, Any]) -> str:
    """ABI type of one input, tuples spelled out."""
    kind: str = entry["type"]
    if kind.startswith("tuple"):
        inner = ",".join(canonical_type(part) for part in entry["components"])
        return f"({inner}){kind.removeprefix('tuple')}"
    return kind


def signature(entry: dict[str, Any]) -> str:
    """What is hashed for the selector of a function or an error, or the topic of an event."""
    return f"{entry['name']}({','.join(canonical_type(i) for i in entry['inputs'])})"
