"""What running a command line gives; shared by the fixtures and the tests that use them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What one command said, and how it ended."""

    code: int
    out: str
    err: str


Gradproof = Callable[..., Said]
