"""Compiled contracts as they ship with the package: ABI, bytecode, check of the code on chain.

Written by contracts/scripts/build (see the manifest beside the files); users need no compiler. The
market links external libraries, so its code is trusted only together with theirs.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from eth_utils.address import to_checksum_address

from protocol.chain.errors import ChainError, NotOurMarket
from protocol.rules.records import Address

FILES = resources.files("protocol.chain") / "abi"
LIBRARY_SELF = (1, 20)
"""A deployed library starts with PUSH20 of its own address: start and length of that address."""

Places = list[dict[str, int]]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract; its code has placeholders where libraries and immutables go."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: str
    deployed_bytecode: str
    link_references: dict[str, Places]
    deployed_link_references: dict[str, Places]
    immutable_references: dict[str, Places]


def _manifest() -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((FILES / "manifest.json").read_bytes())
    return fields


def libraries() -> list[str]:
    """Names of the linked libraries, each before whatever links it."""
    names: list[str] = _manifest()["libraries"]
    return names


@cache
def artifact(name: str) -> Artifact:
    """Load one artifact; raises ChainError where its bytes are not what the manifest names."""
    raw = (FILES / f"{name}.json").read_bytes()
    if _manifest()["artifacts"][f"{name}.json"] != hashlib.sha256(raw).hexdigest():
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


def check_code(name: str, address: Address, code_of: Callable[[Address], bytes]) -> None:
    """Raise NotOurMarket unless the code at `address`, and of all it links, is this release's."""
    compiled = artifact(name)
    code = code_of(address)
    if not code:
        raise NotOurMarket(name, address, "There is no contract at this address.")
    links = compiled.deployed_link_references
    blank = link(compiled.deployed_bytecode, links, dict.fromkeys(links, "0" * 40))
    expected, found = bytearray.fromhex(blank[2:]), bytearray(code)
    if len(found) != len(expected):
        raise NotOurMarket(name, address, f"It has {len(found)} bytes, not {len(expected)}.")
    linked = {library: _linked_address(name, address, code, links[library]) for library in links}
    for place in _variable_places(compiled):
        span = slice(place["start"], place["start"] + place["length"])
        found[span] = expected[span] = bytes(place["length"])
    if found != expected:
        at = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
        raise NotOurMarket(name, address, f"The first difference is at byte {at}.")
    for library, where in linked.items():
        check_code(library, where, code_of)


def _linked_address(name: str, address: Address, code: bytes, places: Places) -> Address:
    """The one address a library has in `code`; two different ones are a forgery."""
    named = {code[p["start"] : p["start"] + p["length"]] for p in places}
    if len(named) != 1:
        raise NotOurMarket(name, address, "It links one library at several addresses.")
    return Address(to_checksum_address(named.pop()))


def _variable_places(compiled: Artifact) -> Places:
    places = [p for spots in compiled.immutable_references.values() for p in spots]
    places += [p for spots in compiled.deployed_link_references.values() for p in spots]
    start, length = LIBRARY_SELF
    if compiled.deployed_bytecode.startswith("0x73" + "00" * length):
        places.append({"start": start, "length": length})
    return places
