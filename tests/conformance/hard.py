"""The arguments of the profile's table of hard cases; their answers are not taken from it."""

from __future__ import annotations

from pathlib import Path

TABLE = Path(__file__).parents[2] / "protocol" / "exact" / "hard_cases.txt"


def hard_arguments(name: str) -> list[int]:
    """Input patterns that the table lists for one function."""
    lines = (line.split() for line in TABLE.read_text("ascii").splitlines())
    return [int(argument, 16) for function, argument, _ in lines if function == name]
