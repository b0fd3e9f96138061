"""Amounts of tokens: whole ones for people, integers in the smallest unit for everything else."""

from typing import Final

DECIMALS: Final = 18
UNITS: Final = 10**DECIMALS
"""Smallest units in a token."""


def whole(amount: int) -> str:
    """Smallest units as whole tokens, as people read them: exact, without trailing zeros."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    tokens, rest = divmod(amount, UNITS)
    return sign + f"{tokens}.{rest:0{DECIMALS}d}".rstrip("0").removesuffix(".")
