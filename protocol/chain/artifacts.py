"""Compiled contracts as they ship with the package: ABI, bytecode, check of the code on chain.

Written by `npm run build` in contracts/ (see the manifest beside the files); users need no
compiler.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from protocol.chain.errors import ChainError, NotOurMarket

ARTIFACTS = resources.files("protocol.chain") / "abi"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract; bytecode with zeros where libraries and immutables go."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: str
    deployed_bytecode: str
    immutable_references: dict[str, list[dict[str, int]]]
    link_references: dict[str, dict[str, list[dict[str, int]]]]
    deployed_link_references: dict[str, dict[str, list[dict[str, int]]]]

    @property
    def libraries(self) -> list[str]:
        """Names of the libraries that must be deployed first."""
        return sorted({name for by_name in self.link_references.values() for name in by_name})


@cache
def artifact(name: str) -> Artifact:
    """Load one artifact; raises ChainError where its bytes are not what the manifest names."""
    raw = (ARTIFACTS / f"{name}.json").read_bytes()
    manifest = json.loads((ARTIFACTS / "manifest.json").read_bytes())
    if manifest["artifacts"][f"{name}.json"] != hashlib.sha256(raw).hexdigest():
        raise ChainError(
            f"the artifact {name}.json was changed",
            why="Its SHA-256 differs from the one in manifest.json.",
            fix="Reinstall gradproof.",
        )
    fields = json.loads(raw)
    return Artifact(
        name=name,
        abi=fields["abi"],
        bytecode=fields["bytecode"],
        deployed_bytecode=fields["deployedBytecode"],
        immutable_references=fields.get("immutableReferences", {}),
        link_references=fields.get("linkReferences", {}),
        deployed_link_references=fields.get("deployedLinkReferences", {}),
    )


def link(
    code: str,
    references: dict[str, dict[str, list[dict[str, int]]]],
    libraries: Mapping[str, str],
) -> str:
    """Put library addresses into their places; `code` and the result are 0x-prefixed hex."""
    digits = list(code.removeprefix("0x"))
    for by_name in references.values():
        for name, places in by_name.items():
            address = libraries[name].removeprefix("0x").lower()
            for place in places:
                start = 2 * place["start"]
                digits[start : start + 40] = address
    return "0x" + "".join(digits)


def check_code(name: str, address: str, code: bytes) -> None:
    """Raise NotOurMarket unless `code`, immutables and libraries masked, is this artifact's."""
    compiled = artifact(name)
    if not code:
        raise NotOurMarket(name, address, "There is no contract at this address.")
    expected = bytearray.fromhex(_without_placeholders(compiled))
    found = bytearray(code)
    if len(found) != len(expected):
        raise NotOurMarket(name, address, f"It has {len(found)} bytes, not {len(expected)}.")
    places = [p for spots in compiled.immutable_references.values() for p in spots]
    places += [
        p
        for by_name in compiled.deployed_link_references.values()
        for spots in by_name.values()
        for p in spots
    ]
    for place in places:
        blank = bytes(place["length"])
        span = slice(place["start"], place["start"] + place["length"])
        found[span] = blank
        expected[span] = blank
    if found != expected:
        at = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
        raise NotOurMarket(name, address, f"The first difference is at byte {at}.")


def _without_placeholders(compiled: Artifact) -> str:
    zero = dict.fromkeys(
        (n for by_name in compiled.deployed_link_references.values() for n in by_name), "0" * 40
    )
    return link(compiled.deployed_bytecode, compiled.deployed_link_references, zero)[2:]
