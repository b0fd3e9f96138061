"""Letting the vault pull tokens: by a permit in the same transaction, or by an approval before it.

A permit (ERC-2612) is a signature over one amount for one spender. Tokens differ in how they hash
it, and many know none: so the domain must hash to what the token says, and the token must accept
the signature when asked, before anything relies on it.
"""

from typing import Any

from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from web3 import Web3

from protocol.chain.client import Call, Chain
from protocol.chain.errors import ChainDown, ChainError
from protocol.chain.tx_sender import TxSender

PERMIT = {
    "Permit": [
        {"name": "owner", "type": "address"},
        {"name": "spender", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
    ]
}
PERMIT_SECONDS = 3600
"""How long a permit is good for, by the chain's clock; it is sent at once."""


def send_paying(sender: TxSender, key: str, call: Call, amount: int) -> str:
    """Send `deposit` or `post`, of which the vault pulls `amount` units; returns the hash.

    One transaction where the token knows permits or the allowance suffices already; else an
    approval goes before it, and where another allowance is left, one of zero before that, which
    some tokens demand.
    """
    chain, vault = sender.chain, sender.chain.deployment.vault
    if sender.state(key) not in (None, "reverted"):
        return sender.send(key, call)  # sent before: only its end is awaited
    allowance = chain.call(chain.token, "allowance", sender.address, vault)
    if allowance >= amount:
        return sender.send(key, call)
    permitted = with_permit(chain, sender.account, call, amount)
    if permitted is not None:
        return sender.send(key, permitted)
    if allowance:
        sender.send(f"{key}/approve 0", Call(chain.token, "approve", (vault, 0)))
    sender.send(f"{key}/approve", Call(chain.token, "approve", (vault, amount)))
    return sender.send(key, call)


def with_permit(chain: Chain, account: LocalAccount, call: Call, amount: int) -> Call | None:
    """`call` with the account's permit for the vault, or None where the token accepts none."""
    permit = sign_permit(chain, account, amount)
    if permit is None:
        return None
    return Call(call.contract, f"{call.function}WithPermit", (*call.args, permit))


def sign_permit(
    chain: Chain, account: LocalAccount, amount: int
) -> tuple[int, int, bytes, bytes] | None:
    """(deadline, v, r, s) over `amount` for the vault; None where the token accepts none."""
    vault = chain.deployment.vault
    try:
        separator = bytes(chain.call(chain.token, "DOMAIN_SEPARATOR"))
        nonce = chain.call(chain.token, "nonces", account.address)
        now = chain.retrying(lambda: int(chain.web3.eth.get_block("latest")["timestamp"]))
        deadline = now + PERMIT_SECONDS
        message = {
            "owner": account.address,
            "spender": vault,
            "value": amount,
            "nonce": nonce,
            "deadline": deadline,
        }
        signable = encode_typed_data(_domain(chain), PERMIT, message)
        if signable.header != separator:
            return None
        signed = account.sign_message(signable)
        r, s = (value.to_bytes(32, "big") for value in (signed.r, signed.s))
        chain.attempt(
            Call(chain.token, "permit", (account.address, vault, amount, deadline, signed.v, r, s))
        )
    except ChainDown:
        raise
    except ChainError:
        return None  # one of these questions means nothing to the token
    return deadline, signed.v, r, s


def _domain(chain: Chain) -> dict[str, Any]:
    """The token's EIP-712 domain, as far as it can be known; the caller checks its hash."""
    version = "1"
    try:
        version = str(chain.call(chain.token, "eip712Domain")[2])
    except ChainDown:
        raise
    except ChainError:
        pass  # older tokens do not say; nearly all of them count from 1
    return {
        "name": chain.call(chain.token, "name"),
        "version": version,
        "chainId": chain.deployment.chain_id,
        "verifyingContract": Web3.to_checksum_address(chain.deployment.token),
    }
