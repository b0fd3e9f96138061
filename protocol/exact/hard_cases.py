"""The table of arguments whose correctly rounded results no binary64 evaluation may decide.

All 2^32 inputs of each function were searched; `hard_cases.txt` holds the few that lie within 6 ulp
of binary64 of a rounding boundary, with their answers.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=1)
def hard_cases() -> dict[str, list[tuple[int, int]]]:
    """Function name -> (input bits, correctly rounded result bits), as unsigned 32-bit words."""
    cases: dict[str, list[tuple[int, int]]] = {}
    text = files("protocol.exact").joinpath("hard_cases.txt").read_text("ascii")
    for line in text.splitlines():
        name, argument, answer = line.split()
        cases.setdefault(name, []).append((int(argument, 16), int(answer, 16)))
    return cases
