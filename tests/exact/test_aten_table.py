"""The document lists exactly the calls that run, each under what it is."""

from __future__ import annotations

from pathlib import Path

from protocol.exact.allowlist import FOREACH, TABLE
from protocol.exact.aten_table import kinds, markdown
from protocol.exact.refusals import REFUSED

DOCUMENT = Path(__file__).parents[2] / "docs" / "numerics.md"


def test_document_holds_the_table_of_the_code() -> None:
    assert markdown() in DOCUMENT.read_text(), (
        "replace the table in docs/numerics.md by the output of python -m protocol.exact.aten_table"
    )


def test_every_admitted_call_has_a_kind() -> None:
    admitted = {f"{f._schema.name.removeprefix('aten::')}.{f._overloadname}" for f in TABLE}
    profiler = {name for name in admitted if name.startswith("profiler::")}
    assert admitted - profiler == set(kinds())
    assert len(profiler) == 2


def test_no_admitted_call_is_listed_as_refused() -> None:
    clash = {n for n in kinds() for prefix in REFUSED if n.startswith(prefix)}
    assert clash == set(FOREACH)  # some multi-tensor calls are admitted, the others are explained
