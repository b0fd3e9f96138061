"""What block explorers ask for to show a contract's source: Etherscan, Sourcify, Blockscout.

Per contract: its qualified name, its address, its constructor's arguments; for all of them one
standard JSON input, library addresses filled in, and the compiler's version. Whoever compiles that
input gets the code on the chain, immutables aside.
"""

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from protocol.chain.artifacts import artifact, manifest, standard_input
from protocol.chain.deployment import Deployment
from protocol.chain.plan import constructor_types, plan_market

INPUT, INDEX = "standard-input.json", "contracts.json"


def linked_input(book: Deployment) -> dict[str, Any]:
    """The compiler's standard JSON input with the market's libraries in its settings."""
    whole = standard_input()
    linked: dict[str, dict[str, str]] = {}
    for name, address in book.libraries.items():
        linked.setdefault(artifact(name).source, {})[name] = address
    whole["settings"]["libraries"] = linked
    return whole


def contracts(book: Deployment) -> list[dict[str, str]]:
    """One row per contract of the market: what an explorer's form asks for."""
    plan = plan_market(book.token, book.config, book.salt)
    given = {creation.name: creation.arguments for creation in plan.creations}
    types = constructor_types(artifact("StakeVault"))
    given["StakeVault"] = encode(types, [book.token, book.market])
    return [
        {
            "contract": f"{artifact(name).source}:{name}",
            "address": address,
            "constructor_arguments": given[name].hex(),
            "compiler": "v" + manifest()["compiler"],
        }
        for name, address in plan.addresses.items()
    ]


def write_sources(book: Deployment, folder: Path) -> list[Path]:
    """Write both files into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in ((INPUT, linked_input(book)), (INDEX, contracts(book))):
        path = folder / name
        path.write_text(json.dumps(content, indent=1) + "\n")
        paths.append(path)
    return paths
