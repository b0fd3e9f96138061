"""A contract's custom error behind a web3 exception, with its name and its values."""

from functools import cache
from typing import Any

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from protocol.chain.artifacts import artifact
from protocol.chain.errors import ContractRejected
from protocol.chain.signatures import canonical_type, signature


def refusal(function: str, error: Exception) -> ContractRejected:
    """The error that `function` reverted with; `Reverted` where it is none of our contracts'."""
    data = getattr(error, "data", None)
    if isinstance(data, str) and data.startswith("0x") and len(data) >= 10:
        entry = _errors().get(bytes.fromhex(data[2:10]))
        if entry is not None:
            values = decode([canonical_type(i) for i in entry["inputs"]], bytes.fromhex(data[10:]))
            names = [i["name"] for i in entry["inputs"]]
            shown = {n: _readable(n, v) for n, v in zip(names, values, strict=True)}
            return ContractRejected(function, entry["name"], shown)
    return ContractRejected(function, "Reverted", {"message": str(error)})


def _readable(name: str, value: object) -> object:
    """Names of terms come as bytes32."""
    return value.rstrip(b"\0").decode() if isinstance(value, bytes) and name == "name" else value


@cache
def _errors() -> dict[bytes, dict[str, Any]]:
    entries = [
        entry
        for name in ("JobMarket", "StakeVault", "DevToken", "PrevrandaoBeacon")
        for entry in artifact(name).abi
        if entry["type"] == "error"
    ]
    return {keccak(text=signature(entry))[:4]: entry for entry in entries}
