"""`make chaos`: whole markets that train while their processes die, hang, and lose each other.

    python -m tests.chaos [--seed N] [--seeds COUNT] [--rounds 8] [--seconds 330] [--keep FOLDER]

Prints what happens as it happens and one line per run; exit code 1 if a run came out wrong. The
same seed disturbs in the same way at the same distances in time.
"""

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import HEADER, MOST_SECONDS, Outcome, run


def main() -> int:
    """Run the seeds, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=_number, help="the first seed; a random one by default")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument(
        "--seconds",
        type=float,
        default=MOST_SECONDS,
        help="how long a run may take; more on a busy machine",
    )
    parser.add_argument("--keep", type=Path, help="folder for logs, chain and store of every run")
    parser.add_argument("--quiet", action="store_true", help="print the table alone")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves no process behind
    first = random.SystemRandom().randrange(10**5) if args.seed is None else args.seed
    outcomes: list[Outcome] = []
    for seed in range(first, first + args.seeds):
        with tempfile.TemporaryDirectory(prefix="gradproof-chaos-") as scratch:
            root = Path(scratch) if args.keep is None else args.keep / str(seed)
            root.mkdir(parents=True, exist_ok=args.keep is None)  # never two runs in one
            tell = _nothing if args.quiet else _say
            outcomes.append(run(seed, args.rounds, root, tell, args.seconds))
        if len(outcomes) == 1 or not args.quiet:
            _say(HEADER)
        _say(outcomes[-1].row())
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def _number(text: str) -> int:
    return int(text, 0)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _nothing(_line: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
