"""An owner's signed word that a hot key may act for it: made off chain, sent by anybody.

The owner key signs on a machine that never sees the chain; the file goes to whoever runs the hot
key, who sends it and pays the gas. It is good once, on one chain, in one vault, until its deadline
(Unix time in seconds), and void as soon as the owner authorises the same operator directly.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.address import is_checksum_address

from protocol.chain.deployment import Deployment
from protocol.chain.errors import ChainError
from protocol.rules.records import Address

TYPES = {
    "Authorisation": [
        {"name": "provider", "type": "address"},
        {"name": "operator", "type": "address"},
        {"name": "limit", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
    ]
}
NUMBERS = ("limit", "nonce", "deadline")


class BadAuthorisation(ChainError):
    """A file is no signed authorisation for this market."""


@dataclass(frozen=True, slots=True)
class Authorisation:
    """`operator` may lock `limit` token units of `provider`; `signature` is the owner's.

    `signature` has 65 bytes for an account's key, any number for a contract's (ERC-1271).
    """

    chain_id: int
    vault: Address
    provider: Address
    operator: Address
    limit: int
    nonce: int
    deadline: int
    signature: bytes

    @property
    def args(self) -> tuple[object, ...]:
        """Arguments of `authoriseBySignature`."""
        signed = (self.provider, self.operator, self.limit, self.nonce, self.deadline)
        return (*signed, self.signature)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        text = json.dumps(asdict(self) | {"signature": "0x" + self.signature.hex()}, indent=2)
        path.write_text(text + "\n")

    @classmethod
    def read(cls, path: Path, book: Deployment) -> "Authorisation":
        """Read a file for the market of `book`; raises BadAuthorisation."""
        names = [field.name for field in fields(cls)]
        try:
            given = json.loads(path.read_text())
            if sorted(given) != sorted(names):
                raise ValueError(f"It must hold exactly {', '.join(names)}.")
            if not all(is_checksum_address(given[n]) for n in ("vault", "provider", "operator")):
                raise ValueError("An address is not checksummed.")
            if not all(type(given[n]) is int and given[n] >= 0 for n in NUMBERS):
                raise ValueError(f"{', '.join(NUMBERS)} are whole numbers.")
            signature = bytes.fromhex(given["signature"].removeprefix("0x"))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise BadAuthorisation(
                f"{path} is no signed authorisation",
                why=str(error),
                fix="Make one: gradproof wallet sign-authorisation.",
            ) from None
        if (given["chain_id"], given["vault"]) != (book.chain_id, book.vault):
            raise BadAuthorisation(
                f"{path} is for another market",
                why=f"It names the vault {given['vault']} on chain {given['chain_id']}, "
                f"the address book {book.vault} on chain {book.chain_id}.",
                fix="Use that market's address book, or have the owner sign again.",
            )
        return cls(**{**given, "signature": signature})


def sign_authorisation(
    account: LocalAccount,
    book: Deployment,
    operator: Address,
    limit: int,
    nonce: int,
    deadline: int,
) -> Authorisation:
    """Sign with the owner's key; asks no chain."""
    message = {
        "provider": account.address,
        "operator": operator,
        "limit": limit,
        "nonce": nonce,
        "deadline": deadline,
    }
    domain = {
        "name": "gradproof StakeVault",
        "version": "1",
        "chainId": book.chain_id,
        "verifyingContract": book.vault,
    }
    signed = account.sign_message(encode_typed_data(domain, TYPES, message))
    return Authorisation(
        book.chain_id,
        book.vault,
        Address(account.address),
        operator,
        limit,
        nonce,
        deadline,
        bytes(signed.signature),
    )
