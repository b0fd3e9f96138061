"""Gas of whole rounds on a real chain, by function, and what it comes to per task.

Rounds of 64 tasks of which 7 are checked (p = 10.9 %) are played through the market's public
functions by everybody honest, each transaction counted: seals, openings, checks, gathering, the
update, every `advance`, and the payout inside it. A slot's seals travel in one transaction, and a
key's openings in another; with --apart each has its own. The first round writes words that were
zero; the later ones are what a job costs in the long run.

Without options the figures are compared with contracts/gas-snapshot.json, and what moved is said
(exit code 1); --keep makes them the new snapshot. What real roles spend: benchmarks/gas_roles.py.

    python benchmarks/gas.py [--keep] [--tasks 64] [--checks 7] [--slots 16] [--rounds 2] [--apart]
"""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.gas_snapshot import differences, keep, kept, snapshot_of, table
from tests.support.metered import Setting, play_rounds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in dataclasses.fields(Setting):
        if field.name != "apart":
            parser.add_argument(f"--{field.name}", type=int, default=field.default)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--keep", action="store_true")
    args = vars(parser.parse_args())
    is_kept = args.pop("keep")
    setting = Setting(**args)
    rounds = play_rounds(setting)
    for number, spent in enumerate(rounds):
        print(table(number, setting.tasks, spent))
    if setting != Setting():
        return 0
    found = snapshot_of(rounds, setting)
    if is_kept:
        keep(found)
    moved = differences(found, kept())
    print("\n" + "\n".join(moved or ["as in contracts/gas-snapshot.json"]))
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
