"""gradproof doctor: what this machine can do, and what to mend."""

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from coordinator.checks import Result

_NAME_WIDTH = 18


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine this machine; exit code 1 if it cannot compute tasks."""
    from coordinator.checks import State, examine
    from coordinator.checks.engine import ENGINE
    from protocol.runtime.start import start_process

    start_process()
    results = []
    for result in examine([ENGINE]):
        results.append(result)
        if not as_json:
            _print(result)
    failed = [result for result in results if result.state is State.FAIL]
    if as_json:
        sys.stdout.write(json.dumps(_document(results, failed), indent=2) + "\n")
    elif failed:
        sys.stdout.write(f"\nThis machine cannot compute tasks: {failed[0].finding}\n")
    else:
        sys.stdout.write("\nThis machine can compute tasks.\n")
    raise typer.Exit(1 if failed else 0)


def _print(result: "Result") -> None:
    sys.stdout.write(f"{result.state:<5} {result.name:<{_NAME_WIDTH}} {result.finding}\n")
    if result.fix:
        sys.stdout.write(f"{'':5} {'':<{_NAME_WIDTH}} fix: {result.fix}\n")
    sys.stdout.flush()  # a check may take seconds: show what is known so far


def _document(results: Iterable["Result"], failed: Iterable["Result"]) -> dict[str, object]:
    return {
        "can_compute": not failed,
        "checks": [
            {"name": r.name, "state": str(r.state), "finding": r.finding, "fix": r.fix}
            for r in results
        ],
    }
