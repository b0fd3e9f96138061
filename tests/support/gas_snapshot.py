"""What a round cost when the contracts were last agreed on: contracts/gas-snapshot.json.

The draws of a play are chance, and with them how often an eligible candidate is found at the first
try; so means are compared within a tolerance.
"""

import json
from pathlib import Path
from typing import Any

from tests.support.metered import Setting, Spent

SNAPSHOT = Path(__file__).parents[2] / "contracts" / "gas-snapshot.json"
TARGET = 200_000
"""Gas per task that a round may cost, all its transactions together."""
TOLERANCE = {"per task": 0.01, "mean": 0.05}
"""Shares: of the whole, in which chance evens out, and of single functions, some called once."""
Snapshot = dict[str, Any]


def snapshot_of(rounds: list[Spent], setting: Setting) -> Snapshot:
    """The figures of some rounds, as they are kept."""
    return {
        f"round {number}": {
            "per task": per_task(spent, setting),
            "functions": {
                name: {"calls": len(gas), "mean": sum(gas) // len(gas)}
                for name, gas in sorted(spent.items())
            },
        }
        for number, spent in enumerate(rounds)
    }


def per_task(spent: Spent, setting: Setting) -> int:
    """All transactions of a round, over its tasks."""
    return sum(map(sum, spent.values())) // setting.tasks


def table(number: int, tasks: int, spent: Spent) -> str:
    """One round, function by function."""
    total = sum(map(sum, spent.values()))
    lines = [
        f"\nround {number}: {total:,} gas, {total // tasks:,} per task (target {TARGET:,})",
        f"{'function':<18} {'calls':>5} {'least':>10} {'mean':>10} {'most':>10} {'per task':>10}",
    ]
    lines += [
        f"{name:<18} {len(gas):>5} {min(gas):>10,} {sum(gas) // len(gas):>10,} {max(gas):>10,}"
        f" {sum(gas) / tasks:>10,.0f}"
        for name, gas in sorted(spent.items(), key=lambda kv: -sum(kv[1]))
    ]
    return "\n".join(lines)


def kept() -> Snapshot:
    """The committed snapshot."""
    found: Snapshot = json.loads(SNAPSHOT.read_text())
    return found


def keep(snapshot: Snapshot) -> None:
    """Make this the committed snapshot."""
    SNAPSHOT.write_text(json.dumps(snapshot, indent=1) + "\n")


def differences(found: Snapshot, wanted: Snapshot) -> list[str]:
    """One line for each figure that moved, up or down, by more than chance explains."""
    lines = []
    for name in sorted({*found, *wanted}):
        new, old = found.get(name, {}), wanted.get(name, {})
        lines += _moved(name, "per task", new.get("per task"), old.get("per task"))
        calls, agreed = new.get("functions", {}), old.get("functions", {})
        for function in sorted({*calls, *agreed}):
            where = f"{name}, {function}"
            one, other = calls.get(function, {}), agreed.get(function, {})
            if one.get("calls") != other.get("calls"):
                lines.append(f"{where}: {other.get('calls')} calls became {one.get('calls')}")
            lines += _moved(where, "mean", one.get("mean"), other.get("mean"))
    return lines


def _moved(where: str, figure: str, new: int | None, old: int | None) -> list[str]:
    if new is None or old is None:
        return [f"{where}: {figure} {old} became {new}"]
    if abs(new - old) <= TOLERANCE[figure] * old:
        return []
    return [f"{where}: {figure} {old:,} became {new:,} ({(new - old) / old:+.1%})"]
