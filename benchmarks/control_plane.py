"""What a market's control plane costs as it grows: time, memory, requests and gas, by size.

    python -m benchmarks.control_plane [--quick] [--fresh] [--out docs/figures]

Real contracts on a real anvil, the roles' own indexer, observer, sender and deciding functions, and
a coordinator that is the real service in a process of its own; nothing is computed, the answer to a
question is a hash. Whole rounds are played: of up to 1,000 operators and 40 jobs of 256 tasks at
once, and 40 rounds one after the other.

Each point is written down when it is done and not played again, unless --fresh. Exit code 1 where
a cost grows faster than the size to the power of 1.15 over the larger half of an axis, or where a
round that is over leaves more in memory than the name of its state.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import control_plane_report as report
from benchmarks.control_plane_play import Played, Size, play

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SIZES = [
    *(Size(operators, 4, 64) for operators in (10, 30, 100, 300, 1000)),
    *(Size(100, jobs, 64) for jobs in (1, 10, 20, 40)),
    *(Size(100, 10, tasks) for tasks in (16, 256)),
    Size(1000, 40, 256),
]
QUICK = [Size(6, jobs, 8) for jobs in (1, 2, 4)]
HISTORY, QUICK_HISTORY = Size(12, 2, 8, rounds=40), Size(6, 1, 8, rounds=4)
Point = dict[str, Any]


def point(played: Played) -> Point:
    """The figures of one market, all its rounds together."""
    size, ticks = played.size, played.ticks
    # A large round is paid out over several blocks, a small one in one that also ends the job.
    unpaid = [t for t, paying in zip(ticks, played.settling, strict=True) if not paying]
    return {
        "operators": size.operators,
        "jobs": size.jobs,
        "tasks": size.tasks,
        "rounds": size.rounds,
        "ticks": len(ticks),
        "seconds": played.spent("seconds"),
        "requests": played.spent("requests"),
        "looks": played.operators,
        "resident": max(tick.resident for tick in ticks),
        "history": max(tick.history for tick in unpaid),
        "database": ticks[-1].database,
        "gas": {name: sum(used) for name, used in sorted(played.gas.items())},
        "most gas": max(max(used) for used in played.gas.values()),
        "paid": played.paid,
        "wall": played.seconds,
    }


def by_round(played: Played) -> list[Point]:
    """What one tick cost in each round, and what was in memory and on disk at its end."""
    found = []
    for number in range(played.size.rounds):
        ticks = [t for t, at in zip(played.ticks, played.rounds, strict=True) if at == number]
        found.append(
            {
                "round": number,
                "seconds": sum(sum(t.seconds.values()) for t in ticks) / len(ticks),
                "requests": sum(sum(t.requests.values()) for t in ticks) / len(ticks),
                "resident": ticks[-1].resident,
                "history": ticks[-1].history,
                "database": ticks[-1].database,
            }
        )
    return found


def main() -> int:
    """Play what has not been played, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small markets, less than a minute")
    parser.add_argument("--fresh", action="store_true", help="play again what has been played")
    parser.add_argument("--out", type=Path, help="folder of control-plane.json and the plots")
    args = parser.parse_args()
    out = args.out or (None if args.quick else FIGURES)
    kept = out / "control-plane.json" if out else None
    found: Point = {"points": [], "history": None}
    if kept and kept.exists() and not args.fresh:
        found = json.loads(kept.read_text())

    def keep() -> None:
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found, indent=1) + "\n")

    known = {(p["operators"], p["jobs"], p["tasks"]) for p in found["points"]}
    for size in QUICK if args.quick else SIZES:
        if (size.operators, size.jobs, size.tasks) not in known:
            print(f"{size}", file=sys.stderr, flush=True)
            found["points"].append(point(play(size)))
            keep()
    if found["history"] is None:
        long = QUICK_HISTORY if args.quick else HISTORY
        print(f"{long}", file=sys.stderr, flush=True)
        found["history"] = {"jobs": long.jobs, "rounds": by_round(play(long))}
        keep()
    for table in report.tables(found):
        print(table, end="\n\n")
    if out and not args.quick:
        for name, drawing in report.drawings(found).items():
            (out / f"control-plane-{name}.svg").write_text(drawing)
    faults = report.faults(found)
    print("\n".join(faults or ["nothing grows faster than it may"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
