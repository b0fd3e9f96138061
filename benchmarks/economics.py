"""Does cheating pay? Every cheat under several terms, by exact computation and by play.

    python -m benchmarks.economics [--rounds 500] [--share 3/10] [--bound max]

`--rounds 0` leaves the play out. `--bound max` prices bonds at max(3*w*T/J, N*f, N*u) instead of
what the contract asks for, to show why it asks for more.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import sqrt
from random import Random

from benchmarks import economics_model as model
from benchmarks import economics_play as played
from benchmarks.economics_model import Gains, Setting, colluding_slots
from protocol.rules.economics import check_terms, smallest_bond, smallest_coordinator_bond
from protocol.rules.records import Address, Terms, Windows

SHARES = tuple(Fraction(n, 10) for n in (1, 2, 3, 4))
SIGMAS = 4
"""How many standard errors played and exact may lie apart: about 1 in 16,000 by chance."""

Cheat = Callable[[Setting], Gains]
Play = Callable[[Setting, Random], int]


def terms(
    tasks: int, checks: int, gatherers: int, panel: int, reward: int, fee: int, update_fee: int
) -> Terms:
    """Terms with the least bonds and the least roster that the contract accepts."""
    made = Terms(
        manifest=b"\1" * 32,
        genesis_root=b"\1" * 32,
        genesis_cid=b"\1" * 32,
        coordinator=Address("0x" + "1" * 40),
        rounds=1,
        tasks=tasks,
        checks=checks,
        gatherers=gatherers,
        panel=panel,
        max_failed_rounds=1,
        min_workers=1,
        min_verifiers=checks + gatherers + panel,
        reward=reward,
        fee=fee,
        update_fee=update_fee,
        bond=smallest_bond(reward, tasks, checks, panel, fee, update_fee),
        coordinator_bond=smallest_coordinator_bond(reward, tasks, panel, update_fee),
        windows=Windows(*([20] * 11)),
    )
    check_terms(made)
    return made


def old_bond(t: Terms) -> Terms:
    """The same terms with a bond that does not reckon with friends on the panel."""
    deterrent = -(-3 * t.reward * t.tasks // t.checks)
    return replace(t, bond=max(deterrent, t.panel * t.fee, t.panel * t.update_fee))


# (name, terms, verifier slots; 0 for the least roster)
JOBS: tuple[tuple[str, Terms, int], ...] = (
    ("usual: p = 10 %, panel of 5", terms(64, 6, 5, 5, 1000, 1200, 500), 60),
    ("one check in 64 tasks", terms(64, 1, 3, 3, 1000, 1000, 500), 40),
    ("everything checked", terms(8, 8, 3, 3, 1000, 1000, 500), 40),
    ("panel of one, least roster", terms(64, 6, 3, 1, 1000, 1000, 0), 0),
    ("large fees, panel of one", terms(64, 6, 3, 1, 1000, 32_000, 0), 0),
    ("large fees, panel of three", terms(64, 6, 3, 3, 1000, 10_700, 0), 0),
    ("large update fee, little work", terms(2, 1, 3, 3, 2, 2, 5000), 0),
    ("many gatherers, least roster", terms(8, 1, 13, 3, 1000, 1000, 900), 0),
)

CHEATS: tuple[tuple[str, Cheat, Play], ...] = (
    ("skip the work (garbage, stale, partial)", model.skip_work, played.skip_work),
    (
        "the same, and silence the round",
        lambda s: model.skip_work(s, void=True),
        lambda s, dice: played.skip_work(s, dice, void=True),
    ),
    ("check without computing", model.false_dissent, played.false_dissent),
    (
        "challenge an honest result",
        model.false_challenge,
        played.false_challenge,
    ),
    (
        "wrong update, friends join in",
        lambda s: model.wrong_update(s, join=True),
        lambda s, dice: played.wrong_update(s, dice, join=True),
    ),
    (
        "wrong update, friends are silent",
        lambda s: model.wrong_update(s, join=False),
        lambda s, dice: played.wrong_update(s, dice, join=False),
    ),
)


def standard_error(gains: Gains, spread: float, rounds: int) -> float:
    """Of the mean of `rounds` played gains whose own deviation is `spread`."""
    # An amount too rare to be seen would leave the played rounds too sure of their mean.
    return max(spread, model.deviation(gains)) / sqrt(rounds)


def settings(share: Fraction, bound: str = "contract") -> Iterator[tuple[str, Setting]]:
    """The jobs above with as many colluding slots as the share allows."""
    for name, t, verifiers in JOBS:
        slots = verifiers or t.min_verifiers
        made = old_bond(t) if bound == "max" else t
        yield name, Setting(made, slots, colluding_slots(slots, share))


def main() -> int:
    """Print the tables; 1 where played and exact disagree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=500, help="rounds per cheat that are played")
    parser.add_argument("--share", type=Fraction, help="share of colluding slots, e.g. 3/10")
    parser.add_argument("--bound", choices=("contract", "max"), default="contract")
    args = parser.parse_args()
    apart = 0
    for share in SHARES if args.share is None else (args.share,):
        for name, s in settings(share, args.bound):
            apart += _print_job(share, name, s, args.rounds)
    print(f"{apart} of the played gains lie more than {SIGMAS} standard errors from the exact ones")
    return 1 if apart else 0


def _print_job(share: Fraction, name: str, s: Setting, rounds: int) -> int:
    t = s.terms
    print(f"\n{name}: v = {float(share):.1f}, {s.colluding} of {s.verifiers} slots collude")
    print(
        f"  T {t.tasks}  J {t.checks}  G {t.gatherers}  N {t.panel}  w {t.reward}  f {t.fee}  "
        f"u {t.update_fee}  B {t.bond}  C {t.coordinator_bond}"
    )
    error = 100 * float(model.panel_error(s))
    print(f"  a panel that faces the coalition errs {error:.2f} % of times")
    apart = 0
    if s.colluding:
        for cheat, gains_of, play in CHEATS:
            gains = gains_of(s)
            exact = model.expectation(gains)
            line = f"  {cheat:42} {float(exact):12.1f}"
            if rounds:
                mean, spread = played.average(lambda dice, p=play: p(s, dice), rounds, seed=1)  # type: ignore[misc]
                error = standard_error(gains, spread, rounds)
                above = mean - float(exact)
                # What silence may hide is bounded, not computed: that gain may be overstated.
                gap = above if "silent" in cheat else abs(above)
                differs = gap > SIGMAS * error + 1e-9
                apart += differs
                line += f"   played {mean:12.1f} +- {error:9.1f}{'  APART' if differs else ''}"
            print(line + ("   PAYS" if exact > 0 else ""))
    for deed, gain_of in model.deeds(t).items():
        print(f"  {deed:42} {gain_of:12}")
    limit = float(model.withhold(s) / t.reward)
    print(f"  withholding pays only where serving a result costs more than {limit:.4f} w")
    return apart


if __name__ == "__main__":
    sys.exit(main())
