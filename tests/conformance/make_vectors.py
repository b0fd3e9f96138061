"""Writes the conformance vectors, protocol/exact/conformance/vectors.json.

    python -m tests.conformance.make_vectors

Every answer comes from `tests.conformance.reference`; docs/conformance.md describes the file. It
changes only together with the profile.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.conformance.cases import (
    compositions,
    contraction,
    elementwise,
    ordinary,
    reductions,
    training,
)
from tests.conformance.operands import Case

FILE = Path(__file__).parents[2] / "protocol" / "exact" / "conformance" / "vectors.json"
GROUPS = (elementwise, contraction, reductions, compositions, ordinary, training)


def cases() -> Iterator[Case]:
    """Every case, in the file's order."""
    for group in GROUPS:
        yield from group.cases()


def line(case: Case) -> str:
    """One case as one line, so that a changed case is a changed line."""
    return json.dumps(case.json(), separators=(",", ":"))


def text(lines: Iterable[str]) -> str:
    """The whole file."""
    return '{"format":1,"profile":"exact-1","cases":[\n' + ",\n".join(lines) + "\n]}\n"


def recorded() -> dict[str, dict[str, Any]]:
    """The committed file: name -> case."""
    return {case["name"]: case for case in json.loads(FILE.read_text())["cases"]}


def main() -> None:
    lines = [line(case) for case in cases()]
    names = [json.loads(each)["name"] for each in lines]
    assert len(set(names)) == len(names), "two cases share a name"
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(lines))
    sys.stdout.write(f"{len(lines)} cases, {FILE.stat().st_size} bytes: {FILE}\n")


if __name__ == "__main__":
    main()
