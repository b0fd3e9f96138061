"""The numeric profile: the parameters that, with the code, fix every bit of a result.

A job names its profile; workers and verifiers build the engine from it. Only the GEMM leaves a
choice: operand bits `b` and the length `kb` of a block of the contraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.exact.errors import InvalidProfile

OPERAND_BITS: Final = (14, 16)
BLOCK_LENGTHS: Final = (256, 512, 1024)


@dataclass(frozen=True, slots=True)
class Profile:
    """`b` bits per GEMM operand, `kb` consecutive contraction indices per exact block.

    Raises InvalidProfile for a name or parameters that are not defined.
    """

    name: str = "exact-1"
    b: int = 14
    kb: int = 1024

    def __post_init__(self) -> None:
        if self.name != "exact-1":
            raise InvalidProfile(f"profile {self.name!r} is unknown; this engine defines 'exact-1'")
        if self.b not in OPERAND_BITS:
            raise InvalidProfile(f"b = {self.b}: operand bits must be one of {OPERAND_BITS}")
        if self.kb not in BLOCK_LENGTHS:
            raise InvalidProfile(f"kb = {self.kb}: block length must be one of {BLOCK_LENGTHS}")

    @property
    def exponent_carry(self) -> int:
        """Added to a row maximum's bits, so that its rounded digits still fit (r of the text)."""
        return 0x10100 if self.b == 16 else 0


def resolve(profile: Profile | str) -> Profile:
    """The profile itself, or the default parameters under its name."""
    return profile if isinstance(profile, Profile) else Profile(name=profile)
