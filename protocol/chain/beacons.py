"""Where a market's chance comes from, and what has to be sent so that it can be read.

A market names one beacon contract for good. The block-hash beacon needs nothing. The prevrandao
beacon believes a block's header, byte for byte as the chain hashed it: `encode_header` makes these
bytes from what an RPC endpoint says of the block, and they are checked here before they are sent.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import rlp
from eth_hash.auto import keccak

from protocol.chain.errors import ChainError


class BeaconKind(Enum):
    """The beacon contracts of this release; the value is the contract's name."""

    BLOCK_HASH = "BlockHashBeacon"
    PREVRANDAO = "PrevrandaoBeacon"


HEADER_FIELDS = (
    ("parentHash", bytes),
    ("sha3Uncles", bytes),
    ("miner", bytes),
    ("stateRoot", bytes),
    ("transactionsRoot", bytes),
    ("receiptsRoot", bytes),
    ("logsBloom", bytes),
    ("difficulty", int),
    ("number", int),
    ("gasLimit", int),
    ("gasUsed", int),
    ("timestamp", int),
    ("extraData", bytes),
    ("mixHash", bytes),
    ("nonce", bytes),
)
"""Name in JSON-RPC and kind of each field, in the order in which a block hash covers them."""

FORK_FIELDS = (
    ("baseFeePerGas", int),  # London
    ("withdrawalsRoot", bytes),  # Shanghai
    ("blobGasUsed", int),  # Cancun
    ("excessBlobGas", int),
    ("parentBeaconBlockRoot", bytes),
    ("requestsHash", bytes),  # Prague
    ("blockAccessListHash", bytes),  # Amsterdam
)
"""What forks appended; a block has the first few of them."""


class BadHeader(ChainError):
    """A block's header cannot be rebuilt from what the endpoint says of it."""

    def __init__(self, number: object, why: str) -> None:
        super().__init__(
            f"the header of block {number} cannot be rebuilt",
            why=why,
            fix="Use another RPC endpoint; on a chain with a new fork, update gradproof.",
        )


def encode_header(block: Mapping[str, Any]) -> bytes:
    """RLP of a block's header, as `eth_getBlockByNumber` describes it; raises BadHeader.

    The bytes hash to the block's hash: an endpoint that lies, or a fork that this release does not
    know, is noticed here.
    """
    number = block.get("number")
    try:
        fields = [_field(block[name], kind) for name, kind in HEADER_FIELDS]
        for name, kind in FORK_FIELDS:
            if block.get(name) is None:
                break
            fields.append(_field(block[name], kind))
        stated = bytes.fromhex(block["hash"][2:])
    except (KeyError, TypeError, ValueError) as error:
        raise BadHeader(number, f"A field is missing or no hex number: {error!r}.") from None
    encoded: bytes = rlp.encode(fields)
    if keccak(encoded) != stated:
        raise BadHeader(number, "Its fields do not hash to the hash that the endpoint names.")
    return encoded


def _field(value: str, kind: type) -> bytes:
    """A field's RLP payload: bytes as they are, a number without leading zeros."""
    if kind is bytes:
        return bytes.fromhex(value[2:])
    number = int(value, 16)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
