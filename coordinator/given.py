"""What people type on the command line: amounts and addresses, checked before anything is sent."""

from decimal import Decimal, InvalidOperation

from eth_utils.address import is_checksum_address

from coordinator.job_file import UNITS
from protocol.rules.errors import GradproofError
from protocol.rules.records import Address


class GivenError(GradproofError):
    """An argument makes no sense."""


def amount_in_units(text: str) -> int:
    """Whole tokens, as typed, in smallest units; raises GivenError, never rounds."""
    try:
        scaled = Decimal(text) * UNITS
    except InvalidOperation:
        scaled = Decimal("NaN")
    if not scaled.is_finite() or scaled < 0 or scaled != scaled.to_integral_value():
        raise GivenError(
            f"{text!r} is no amount of tokens",
            why="An amount is not negative and has at most 18 decimals.",
            fix="Write whole tokens, such as 12 or 0.5.",
        )
    return int(scaled)


def checked_address(text: str) -> Address:
    """An address, as typed; raises GivenError where a typing error would lose money."""
    if not is_checksum_address(text):
        raise GivenError(
            f"{text!r} is not a checksummed address",
            why="The mixed case of an address is its protection against typing errors.",
            fix="Copy it whole from `gradproof wallet show`.",
        )
    return Address(text)
