"""What people type on the command line: amounts and addresses, checked before anything is sent."""

import re

from eth_utils.address import is_checksum_address

from protocol.rules.amounts import DECIMALS, UNITS
from protocol.rules.errors import GradproofError
from protocol.rules.records import Address


class GivenError(GradproofError):
    """An argument makes no sense."""


def amount_in_units(text: str) -> int:
    """Whole tokens, as typed, in smallest units; raises GivenError, never rounds."""
    parts = re.fullmatch(r"(\d{1,20})(?:\.(\d{1,18}))?", text, re.ASCII)
    if parts is None:
        raise GivenError(
            f"{text!r} is no amount of tokens",
            why="An amount is not negative and has at most 18 decimals.",
            fix="Write whole tokens, such as 12 or 0.5.",
        )
    tokens, rest = int(parts[1]), int((parts[2] or "").ljust(DECIMALS, "0"))
    return tokens * UNITS + rest


def checked_address(text: str) -> Address:
    """An address, as typed; raises GivenError where a typing error would lose money."""
    if not is_checksum_address(text):
        raise GivenError(
            f"{text!r} is not a checksummed address",
            why="The mixed case of an address is its protection against typing errors.",
            fix="Copy it whole from `gradproof wallet show`.",
        )
    return Address(text)
