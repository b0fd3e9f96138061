"""Gas of whole rounds on a real chain, by function, and what it comes to per task.

Rounds of 64 tasks of which 7 are checked (p = 10.9 %) are played through the market's public
functions by everybody honest, each transaction counted: seals, openings, checks, gathering, the
update, every `advance`, and the payout inside it. A slot's seals travel in one transaction, and a
key's openings in another; with --apart each has its own. The first round writes words that were
zero; the later ones are what a job costs in the long run.

Without options the figures are compared with contracts/gas-snapshot.json, and what moved is said
(exit code 1); --keep makes them the new snapshot. With --job N the rounds of a job that roles have
played are measured, on the chain of the settings (GRADPROOF_RPC_URL, GRADPROOF_DEPLOYMENT).

    python benchmarks/gas.py [--keep] [--tasks 64] [--checks 7] [--slots 16] [--rounds 2] [--apart]
    python benchmarks/gas.py --job 1
"""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.gas_snapshot import (
    TARGET,
    differences,
    keep,
    kept,
    snapshot_of,
)
from tests.support.metered import Setting, Spent, play_rounds
from tests.support.played_gas import gas_of_job


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in dataclasses.fields(Setting):
        if field.name != "apart":
            parser.add_argument(f"--{field.name}", type=int, default=field.default)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--job", type=int)
    args = vars(parser.parse_args())
    job, is_kept = args.pop("job"), args.pop("keep")
    if job is not None:
        for number, (tasks, spent) in enumerate(gas_of_job(job)):
            report(number, tasks, spent)
        return 0
    setting = Setting(**args)
    rounds = play_rounds(setting)
    for number, spent in enumerate(rounds):
        report(number, setting.tasks, spent)
    if setting != Setting():
        return 0
    found = snapshot_of(rounds, setting)
    if is_kept:
        keep(found)
    moved = differences(found, kept())
    print("\n" + "\n".join(moved or ["as in contracts/gas-snapshot.json"]))
    return 1 if moved else 0


def report(number: int, tasks: int, spent: Spent) -> None:
    """Print one round."""
    total = sum(map(sum, spent.values()))
    print(f"\nround {number}: {total:,} gas, {total // tasks:,} per task (target {TARGET:,})")
    print(f"{'function':<18} {'calls':>5} {'least':>10} {'mean':>10} {'most':>10} {'per task':>10}")
    for name, gas in sorted(spent.items(), key=lambda kv: -sum(kv[1])):
        print(
            f"{name:<18} {len(gas):>5} {min(gas):>10,} {sum(gas) // len(gas):>10,} {max(gas):>10,}"
            f" {sum(gas) / tasks:>10,.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
