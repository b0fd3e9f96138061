"""Python's twins of the contract's types and events: same names, same numbers, same order."""

import dataclasses
import re
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from protocol.chain import artifacts
from protocol.chain.artifacts import artifact
from protocol.chain.errors import ChainError
from protocol.chain.market_config import MarketConfig
from protocol.rules import records
from protocol.rules.fold import HANDLERS, apply
from protocol.rules.history import Event, MarketHistory
from protocol.rules.records import JobView, Outcome, RoundView, Terms, Windows

TYPES = (Path(__file__).parents[2] / "contracts" / "src" / "types" / "Types.sol").read_text()
ENUMS = (
    records.Phase,
    records.Stage,
    records.Reason,
    records.Ending,
    records.TaskResult,
)
STRUCTS = {
    "Windows": Windows,
    "Terms": Terms,
    "Outcome": Outcome,
    "JobView": JobView,
    "RoundView": RoundView,
    "Config": MarketConfig,
}


def body_of(kind: str, name: str) -> str:
    """What stands between the braces, without comments."""
    code = re.sub(r"//[^\n]*", "", TYPES)
    found = re.search(rf"\b{kind} {name} \{{(.*?)\}}", code, re.DOTALL)
    assert found is not None, f"Types.sol has no {kind} {name}"
    return found.group(1)


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_enum_has_the_contracts_members(enum: type[IntEnum]) -> None:
    members = [snake(m).upper() for m in body_of("enum", enum.__name__).replace(",", " ").split()]
    assert {name: i for i, name in enumerate(members)} == {m.name: m.value for m in enum}


def test_no_enum_is_without_a_twin() -> None:
    named = set(re.findall(r"^enum (\w+)", TYPES, re.MULTILINE))
    assert named == {enum.__name__ for enum in ENUMS}


@pytest.mark.parametrize("name", STRUCTS)
def test_struct_has_the_contracts_fields_in_order(name: str) -> None:
    fields = [line.split()[-1] for line in body_of("struct", name).split(";") if line.strip()]
    assert [snake(f) for f in fields] == [f.name for f in dataclasses.fields(STRUCTS[name])]


def events() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in artifact("JobMarket").abi if entry["type"] == "event"}


def test_every_event_is_folded_and_no_other() -> None:
    assert set(events()) == set(HANDLERS)


def blank(entry: dict[str, Any]) -> Any:
    """A value of the type that an ABI entry names."""
    kind = entry["type"]
    if kind == "tuple":
        return {part["name"]: blank(part) for part in entry["components"]}
    if kind == "address":
        return records.ZERO_ADDRESS
    if kind == "bytes32":
        return bytes(32)
    return False if kind == "bool" else 0


def test_handlers_read_only_what_the_abi_has() -> None:
    """The table is in the order of the flow, so that each event finds what came before it."""
    history = MarketHistory()
    for name in HANDLERS:
        args = {part["name"]: blank(part) for part in events()[name]["inputs"]}
        apply(history, Event(name, args, 1, 0, "0x"))
    job = history.jobs[records.JobId(0)]
    assert job.rounds[0].finalised
    assert len(job.rounds[0].lines) == 3


def test_changed_artifact_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("DevToken.json", "manifest.json"):
        (tmp_path / path).write_bytes((artifacts.FILES / path).read_bytes())
    token = tmp_path / "DevToken.json"
    token.write_text(token.read_text().replace("transfer", "tranzfer", 1))
    monkeypatch.setattr(artifacts, "FILES", tmp_path)
    artifacts.artifact.cache_clear()
    try:
        with pytest.raises(ChainError, match="was changed"):
            artifacts.artifact("DevToken")
    finally:
        artifacts.artifact.cache_clear()
