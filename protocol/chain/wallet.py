"""Keys: encrypted keystores (Web3 Secret Storage), one file per key, never a plain key on disk."""

import json
import os
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_keyfile.exceptions import EthKeyfileException
from eth_utils.address import is_hex_address, to_checksum_address

from protocol.chain.errors import WalletError, WrongPassword
from protocol.rules.records import Address


def create(path: Path, password: str) -> Address:
    """Make a new key and write its keystore with mode 0600; refuses to overwrite."""
    return store(path, bytes(Account.create().key), password)


def store(path: Path, key: bytes, password: str, *, work: int | None = None) -> Address:
    """Write `key` (32 bytes) as a keystore with mode 0600; refuses to overwrite.

    `work` is scrypt's cost, a power of two; None takes the library's, which suits real money.
    """
    if not password:
        raise WalletError(
            "the wallet needs a password",
            why="A keystore without one protects nothing.",
            fix="Set GRADPROOF_PASSWORD or answer the prompt.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(Account.encrypt(key, password, iterations=work))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise WalletError(
            f"{path} exists already",
            why="Overwriting a keystore would lose its key.",
            fix="Choose another name.",
        ) from None
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    account: LocalAccount = Account.from_key(key)
    return Address(account.address)


def unlock(path: Path, password: str) -> LocalAccount:
    """Open a keystore; raises WalletError where there is none, WrongPassword where it resists."""
    fields = _read(path)
    try:
        key = Account.decrypt(fields, password)
    except (EthKeyfileException, ValueError, TypeError, KeyError, AttributeError) as error:
        if "MAC mismatch" in str(error):
            raise WrongPassword(str(path)) from None
        why = f"{type(error).__name__}: {error}"
        raise WalletError(
            f"{path} is no keystore", why=why, fix="Restore it from a backup."
        ) from None
    account: LocalAccount = Account.from_key(key)
    return account


def address_of(path: Path) -> Address:
    """Address in a keystore, without its password."""
    return Address(to_checksum_address("0x" + _read(path)["address"].removeprefix("0x")))


def _read(path: Path) -> dict[str, str]:
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        raise WalletError(
            f"there is no wallet at {path}", fix=f"Make one: gradproof wallet new {path.stem}"
        ) from None
    except OSError as error:
        raise WalletError(
            f"{path} cannot be read",
            why=str(error.strerror),
            fix="It should belong to the user that this runs as, mode 600 or 400.",
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        fields = None
    if not isinstance(fields, dict) or not is_hex_address(fields.get("address")):
        raise WalletError(f"{path} is no keystore", fix="Restore it from a backup.")
    return fields
