"""gradproof doctor: what this machine can do, and what to mend."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from coordinator.checks import Check, Result

_NAME_WIDTH = 18


def doctor(
    engine_only: Annotated[
        bool, typer.Option("--engine", help="Examine the numeric engine alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine this machine and its configuration; exit code 1 if a role could not work here."""
    from coordinator.checks import State, examine
    from coordinator.checks.engine import ENGINE
    from coordinator.checks.host import host
    from coordinator.checks.market import market
    from protocol.runtime.start import start_process

    settings = start_process()
    parts: list[tuple[str, Sequence[Sequence[Check]]]] = [("compute tasks", [ENGINE])]
    if not engine_only:
        # None of the host's checks needs another.
        parts.append(("run a role", [[check] for check in host(settings)]))
        parts.append(("work for this market", [market(settings)]))
    results: dict[str, list[Result]] = {}
    for able, groups in parts:
        results[able] = []
        for result in examine(groups):
            results[able].append(result)
            if not as_json:
                _print(result)
    failed = {
        able: [result for result in found if result.state is State.FAIL]
        for able, found in results.items()
        if any(result.state is not State.NOTE for result in found)  # else nothing was examined
    }
    if as_json:
        sys.stdout.write(json.dumps(_document(results, failed), indent=2) + "\n")
    else:
        sys.stdout.write("\n" + "".join(map(_verdict, failed, failed.values())))
    raise typer.Exit(1 if any(failed.values()) else 0)


def _verdict(able: str, failed: Sequence["Result"]) -> str:
    if failed:
        return f"This machine cannot {able}: {failed[0].finding}\n"
    return f"This machine can {able}.\n"


def _print(result: "Result") -> None:
    sys.stdout.write(f"{result.state:<5} {result.name:<{_NAME_WIDTH}} {result.finding}\n")
    if result.fix:
        sys.stdout.write(f"{'':5} {'':<{_NAME_WIDTH}} fix: {result.fix}\n")
    sys.stdout.flush()  # a check may take seconds: show what is known so far


def _document(
    results: Mapping[str, Sequence["Result"]], failed: Mapping[str, Sequence["Result"]]
) -> dict[str, object]:
    able = {f"can_{name.partition(' ')[0]}": not found for name, found in failed.items()}
    return able | {
        "checks": [
            {"name": r.name, "state": str(r.state), "finding": r.finding, "fix": r.fix}
            for found in results.values()
            for r in found
        ],
    }
