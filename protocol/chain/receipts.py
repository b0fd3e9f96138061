"""Receipts, believed only as far as the chain itself and other endpoints bear them out.

An endpoint that shows a receipt may be wrong, or may have followed a fork since. What it shows
counts when its block is on the chain, the key's nonce is used up, and, where other endpoints
answer that have come as far, one of them shows the same.
"""

from dataclasses import dataclass

import structlog

from protocol.chain.client import Chain
from protocol.rules.records import Address

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a transaction was mined, and whether it went through."""

    hash: str
    block: int
    succeeded: bool


class Doubt:
    """There is a receipt, and something speaks against it: neither sent nor mined is certain."""


def find_receipt(
    chain: Chain, hashes: list[str], sender: Address, nonce: int
) -> Receipt | Doubt | None:
    """The receipt of whichever version was mined, newest first; None while there is none."""
    for sent in reversed(hashes):
        raw = chain.receipt(sent)
        if raw is None:
            continue
        why = _objection(chain, raw, sent, sender, nonce)
        if why is not None:
            log.warning("receipt not believed", hash=sent, why=why, url=chain.endpoints.name)
            return Doubt()
        return Receipt(sent, int(raw["blockNumber"], 16), int(raw["status"], 16) == 1)
    return None


def _objection(
    chain: Chain, raw: dict[str, str], sent: str, sender: Address, nonce: int
) -> str | None:
    if raw["transactionHash"].lower() != sent.lower():
        return "it is another transaction's"
    block = int(raw["blockNumber"], 16)
    header = chain.header(block)
    if header is None or "0x" + header[0].hex() != raw["blockHash"].lower():
        return "its block is not on the chain"
    if chain.nonce(sender) <= nonce:
        return "the key's nonce is not used up"
    others = list(chain.endpoints.ask_others("eth_getTransactionReceipt", [sent], block))
    told = (raw["blockHash"].lower(), int(raw["status"], 16))
    agreeing = [
        other
        for other in others
        if other and (other["blockHash"].lower(), int(other["status"], 16)) == told
    ]
    return "no other endpoint shows the same" if others and not agreeing else None
