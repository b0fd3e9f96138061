"""The address book: which chain, which contracts, how made, from which block on. A JSON file.

    {"chain_id": 1, "market": "0x..", "vault": "0x..", "token": "0x..", "block": 1,
     "config": {"epoch_blocks": 7200, ...}, "salt": "00..", "libraries": {"Flow": "0x..", ...},
     "release": "SHA-256 of the artifacts' manifest"}

Everybody who uses a market needs it and nobody has to believe it: token, constants and salt must
lead to the market's address (protocol/chain/audited.py).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from eth_utils.address import is_checksum_address

from protocol.chain.errors import BadAddressBook
from protocol.chain.market_config import ConfigError, MarketConfig
from protocol.rules.records import Address

ADDRESSES, NUMBERS, HASHES = (
    ("market", "vault", "token"),
    ("chain_id", "block"),
    ("salt", "release"),
)
FIX = "Set GRADPROOF_DEPLOYMENT to the market's address book."


@dataclass(frozen=True, slots=True)
class Deployment:
    """One market on one chain.

    `block` is the first one that can hold its events; `salt` has 32 bytes; `release` is the SHA-256
    of the manifest of the contracts, as hex.
    """

    chain_id: int
    market: Address
    vault: Address
    token: Address
    block: int
    config: MarketConfig
    salt: bytes
    libraries: Mapping[str, Address]
    release: str

    def as_json(self) -> dict[str, Any]:
        """The book's fields, as they are written."""
        plain = {"salt": self.salt.hex(), "libraries": dict(self.libraries)}
        return asdict(self) | plain | {"config": self.config.as_json()}

    def write(self, path: Path) -> None:
        """Write the book; an existing one is replaced whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(self.as_json(), indent=2, sort_keys=True) + "\n")
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Deployment":
        """Read the book; raises BadAddressBook where it is missing or not one."""
        try:
            book = json.loads(path.read_text())
        except FileNotFoundError:
            raise BadAddressBook(f"there is no address book at {path}", fix=FIX) from None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadAddressBook(f"{path} is no address book", why=str(error), fix=FIX) from None
        names = {field.name for field in fields(cls)}
        if not isinstance(book, dict) or set(book) != names:
            raise BadAddressBook(
                f"{path} is no address book", why=f"It must hold exactly {sorted(names)}.", fix=FIX
            )
        for name in ADDRESSES:
            _require(path, is_checksum_address(book[name]), "checksummed address", name, book[name])
        for name in NUMBERS:
            _require(path, type(book[name]) is int and book[name] >= 0, "number", name, book[name])
        for name in HASHES:
            whole = isinstance(book[name], str) and re.fullmatch("[0-9a-f]{64}", book[name])
            _require(path, bool(whole), "hash", name, book[name])
        libraries = book["libraries"]
        _require(path, isinstance(libraries, dict), "table", "libraries", libraries)
        for name, address in libraries.items():
            fits = is_checksum_address(address)
            _require(path, fits, "checksummed address", f"libraries.{name}", address)
        try:
            config = MarketConfig.parse(book["config"])
        except ConfigError as error:
            where = f"config.{error.name}".rstrip(".")
            raise BadAddressBook(f"{path} has no usable {where}", why=error.why, fix=FIX) from None
        return cls(**{**book, "salt": bytes.fromhex(book["salt"]), "config": config})


def _require(path: Path, fits: bool, kind: str, name: str, value: object) -> None:
    if not fits:
        raise BadAddressBook(
            f"{path} names no {kind} as {name}", why=f"{value!r} is not a {kind}.", fix=FIX
        )
