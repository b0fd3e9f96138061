"""The address book: which chain, which contracts, from which block on. A small JSON file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from eth_utils.address import is_checksum_address

from protocol.chain.errors import BadAddressBook
from protocol.rules.records import Address


@dataclass(frozen=True, slots=True)
class Deployment:
    """One market on one chain; `block` is the first one that can hold its events."""

    chain_id: int
    market: Address
    vault: Address
    token: Address
    block: int

    def write(self, path: Path) -> None:
        """Write the book; an existing one is replaced whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Deployment":
        """Read the book; raises BadAddressBook where it is missing or not one."""
        fix = "Set GRADPROOF_DEPLOYMENT to the market's address book."
        try:
            fields = json.loads(path.read_text())
        except FileNotFoundError:
            raise BadAddressBook(f"there is no address book at {path}", fix=fix) from None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadAddressBook(f"{path} is no address book", why=str(error), fix=fix) from None
        names = {"chain_id", "market", "vault", "token", "block"}
        if not isinstance(fields, dict) or set(fields) != names:
            raise BadAddressBook(
                f"{path} is no address book", why=f"It must hold exactly {sorted(names)}.", fix=fix
            )
        for name in ("market", "vault", "token"):
            if not is_checksum_address(fields[name]):
                raise BadAddressBook(
                    f"{path} names no address as {name}",
                    why=f"{fields[name]!r} is not a checksummed address.",
                    fix=fix,
                )
        for name in ("chain_id", "block"):
            if type(fields[name]) is not int or fields[name] < 0:
                raise BadAddressBook(
                    f"{path} names no number as {name}",
                    why=f"It says {fields[name]!r}.",
                    fix=fix,
                )
        return cls(**fields)
