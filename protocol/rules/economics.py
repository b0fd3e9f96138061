"""What a job's terms must satisfy, and what it costs at most.

The contract refuses the same terms (contracts/src/libraries/TermsCheck.sol); checking here first
turns a revert into a sentence.
"""

from protocol.rules.errors import BadTerm
from protocol.rules.records import Terms

MAX_TASKS = 256
MAX_SLOTS = 256
MAX_GATHERERS = 13
"""A round's task flags are bitmaps of 256 bits, its update seats of 16."""


def smallest_bond(
    reward: int, tasks: int, checks: int, panel: int, fee: int, update_fee: int
) -> int:
    """B: a cheat that is checked with chance J/T costs three times what it may bring.

    A panel's fees come on top: they come out of the bond, and the loser's friends may earn them.
    """
    deterrent = -(-3 * reward * tasks // checks)
    return max(deterrent + panel * fee, panel * update_fee)


def smallest_coordinator_bond(reward: int, tasks: int, panel: int, update_fee: int) -> int:
    """C: a coordinator that spoils a round loses at least that round's pay and its panel."""
    return tasks * reward + panel * update_fee


def required_escrow(terms: Terms) -> int:
    """Worst case of all rounds; panels live on slashed bonds, so they are not in it."""
    per_round = (
        terms.tasks * terms.reward
        + terms.checks * terms.fee
        + (terms.gatherers + 3) * terms.update_fee
    )
    return terms.rounds * per_round


def check_terms(terms: Terms) -> None:
    """Raise BadTerm at the first bound that `terms` break."""

    def at_least(name: str, value: int, bound: int, rule: str) -> None:
        if value < bound:
            raise BadTerm(name, value, bound, rule)

    def at_most(name: str, value: int, bound: int, rule: str) -> None:
        if value > bound:
            raise BadTerm(name, value, bound, rule)

    at_least("reward", terms.reward, 2, "a reward whose half is not nothing")
    for name in ("fee", "update_fee", "bond", "coordinator_bond"):
        at_least(name, getattr(terms, name), 0, "an amount that is not negative")
    at_least("rounds", terms.rounds, 1, "at least one round")
    at_least("tasks", terms.tasks, 1, "at least one task per round")
    at_most("tasks", terms.tasks, MAX_TASKS, f"at most {MAX_TASKS} tasks per round")
    at_least(
        "checks", terms.checks, 1, "at least one check per round: work is never accepted unchecked"
    )
    at_most("checks", terms.checks, terms.tasks, "no more checks than tasks")
    at_least("gatherers", terms.gatherers, 3, "at least three gatherers")
    at_most("gatherers", terms.gatherers, MAX_GATHERERS, f"at most {MAX_GATHERERS} gatherers")
    for name in ("gatherers", "panel"):
        number = getattr(terms, name)
        at_least(name, number, number | 1, "an odd number, so that votes do not tie")
    at_least("min_workers", terms.min_workers, 1, "at least one worker slot")
    at_most("min_workers", terms.min_workers, MAX_SLOTS, f"at most {MAX_SLOTS} worker slots")
    at_least(
        "min_verifiers",
        terms.min_verifiers,
        terms.checks + terms.gatherers + terms.panel,
        "min_verifiers >= checks + gatherers + panel",
    )
    at_least(
        "max_failed_rounds", terms.max_failed_rounds, 1, "at least one failed round before the end"
    )
    at_least("fee", terms.fee, terms.reward, "fee >= reward: a check is worth the work it repeats")
    at_least(
        "bond",
        terms.bond,
        smallest_bond(
            terms.reward, terms.tasks, terms.checks, terms.panel, terms.fee, terms.update_fee
        ),
        "bond >= max(3 * reward * tasks / checks + panel * fee, panel * update_fee)",
    )
    at_least(
        "coordinator_bond",
        terms.coordinator_bond,
        smallest_coordinator_bond(terms.reward, terms.tasks, terms.panel, terms.update_fee),
        "coordinator_bond >= tasks * reward + panel * update_fee",
    )
