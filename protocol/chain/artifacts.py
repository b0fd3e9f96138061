"""Compiled contracts as they ship with the package: ABI, bytecode, and where links go.

Written by contracts/scripts/build (see the manifest beside the files); users need no compiler.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from protocol.chain.errors import ChainError

FILES = resources.files("protocol.chain") / "abi"
Places = list[dict[str, int]]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract; its code has placeholders where libraries and immutables go."""

    name: str
    source: str
    abi: list[dict[str, Any]]
    bytecode: str
    deployed_bytecode: str
    link_references: dict[str, Places]
    deployed_link_references: dict[str, Places]
    immutable_references: dict[str, Places]


@cache
def manifest() -> dict[str, Any]:
    """What was compiled, from what, how; with the SHA-256 of every source and artifact."""
    fields: dict[str, Any] = json.loads((FILES / "manifest.json").read_bytes())
    return fields


@cache
def release_hash() -> str:
    """SHA-256 of the manifest, as hex: which release of the contracts this is."""
    return hashlib.sha256((FILES / "manifest.json").read_bytes()).hexdigest()


def standard_input() -> dict[str, Any]:
    """The compiler's whole input, sources included; raises ChainError where it was changed."""
    fields: dict[str, Any] = json.loads(_checked("standard-input.json"))
    return fields


def libraries() -> list[str]:
    """Names of the linked libraries, each before whatever links it."""
    names: list[str] = manifest()["libraries"]
    return names


@cache
def artifact(name: str) -> Artifact:
    """Load one artifact; raises ChainError where its bytes are not what the manifest names."""
    fields = json.loads(_checked(f"{name}.json"))
    return Artifact(
        name=name,
        source=fields["source"],
        abi=fields["abi"],
        bytecode=fields["bytecode"],
        deployed_bytecode=fields["deployedBytecode"],
        link_references=fields["linkReferences"],
        deployed_link_references=fields["deployedLinkReferences"],
        immutable_references=fields["immutableReferences"],
    )


def link(code: str, references: Mapping[str, Places], addresses: Mapping[str, str]) -> str:
    """Put library addresses into their places; `code` and the result are 0x-prefixed hex."""
    digits = list(code.removeprefix("0x"))
    for name, places in references.items():
        address = addresses[name].removeprefix("0x").lower()
        for place in places:
            start = 2 * place["start"]
            digits[start : start + 40] = address
    return "0x" + "".join(digits)


def _checked(file: str) -> bytes:
    raw = (FILES / file).read_bytes()
    if manifest()["artifacts"][file] != hashlib.sha256(raw).hexdigest():
        raise ChainError(
            f"the artifact {file} was changed",
            why="Its SHA-256 differs from the one in manifest.json.",
            fix="Reinstall gradproof.",
        )
    return raw
