"""What cheating brings, exactly: probabilities as fractions, amounts as the protocol's text says.

One coalition holds `colluding` of the V verifier slots of a round, each under a provider of its
own, and as many workers as it likes; everybody else keeps the rules and answers in its turn. Its
moves are the best for it once it knows what has been drawn. A gain is what a cheat brings on
average beyond honest play of the same duty, in token units. Costs are those that tempt most:
computing a task or a check costs w, an update u, and the coalition computes nothing twice.

The formulas here are written down from docs/protocol.md and share nothing with protocol/rules but
the draw's shape (seats, turns); benchmarks/economics_play.py plays the same cheats through the
rules themselves, and the two must agree.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb, floor, prod, sqrt

from protocol.rules.records import Terms

TURNS = 4  # candidates of a check; asserted to be the rules' where the rules are played
TRIES = 16  # candidates of a panel's seat

Gains = list[tuple[Fraction, int]]
"""What a cheat may bring beyond honest play, each amount with its chance."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A job's terms, on a roster of `verifiers` slots of which `colluding` act together."""

    terms: Terms
    verifiers: int
    colluding: int

    @property
    def checked(self) -> Fraction:
        """p: how likely a sealed task is drawn where all are sealed."""
        return Fraction(self.terms.checks, self.terms.tasks)


def colluding_slots(verifiers: int, share: Fraction) -> int:
    """The most slots that are no more than `share` of all."""
    return floor(share * verifiers)


# --- chance ---


@cache
def seated(pool: int, colluding: int, seats: int) -> list[Fraction]:
    """Chance that 0, 1, ... of `seats` slots drawn from `pool` are among `colluding` of them."""
    total = comb(pool, seats)
    return [
        Fraction(comb(colluding, k) * comb(pool - colluding, seats - k), total)
        for k in range(seats + 1)
    ]


def candidates(seat: int, seats: int, slots: int, most: int) -> int:
    """How many roster positions may take a seat: seat, seat + seats, ... below `slots`."""
    return min(most, -(-(slots - seat) // seats))


def within(slots: int, chosen: int, size: int) -> Fraction:
    """Chance that `size` given slots are all among `chosen` ones out of `slots`."""
    return prod((Fraction(chosen - i, slots - i) for i in range(size)), start=Fraction(1))


def taken_whole(sizes: Iterable[int], chance: Callable[[int], Fraction]) -> list[Fraction]:
    """Chance that 0, 1, ... of several disjoint groups of slots are taken whole.

    `chance` tells how likely a given number of slots is; by inclusion and exclusion.
    """
    known = list(sizes)
    # How often each total size occurs among the choices of j groups.
    ways: list[dict[int, int]] = [{} for _ in range(len(known) + 1)]
    ways[0][0] = 1
    for n in sorted(set(known)):
        count = known.count(n)
        new: list[dict[int, int]] = [{} for _ in range(len(known) + 1)]
        for j, sums in enumerate(ways):
            for size, times in sums.items():
                for i in range(min(count, len(known) - j) + 1):
                    at = new[j + i]
                    at[size + i * n] = at.get(size + i * n, 0) + times * comb(count, i)
        ways = new
    moments = [sum((t * chance(size) for size, t in w.items()), Fraction(0)) for w in ways]
    return [
        sum(
            ((-1) ** (j - k) * comb(j, k) * moments[j] for j in range(k, len(moments))), Fraction(0)
        )
        for k in range(len(moments))
    ]


@cache
def panels(
    verifiers: int, seats: int, barred: int, colluding: int
) -> list[tuple[int, int, Fraction]]:
    """(members, colluding members, chance) of a panel; `colluding` are among those not barred.

    A seat stays empty where all its candidates are barred, which a small roster makes possible.
    """
    sizes = [candidates(s, seats, verifiers, TRIES) for s in range(seats)]
    empty = taken_whole(sizes, lambda n: within(verifiers, barred, n))
    found = []
    for gone, chance in enumerate(empty):
        if chance:
            split = seated(verifiers - barred, colluding, seats - gone)
            found += [(seats - gone, k, chance * part) for k, part in enumerate(split) if part]
    return found


def escape(s: Setting) -> Fraction:
    """See `_escape`, which depends on four numbers alone."""
    return _escape(s.terms.checks, s.terms.gatherers, s.verifiers, s.colluding)


@cache
def _escape(checks: int, gatherers: int, verifiers: int, colluding: int) -> Fraction:
    """Chance that silence voids the round where one drawn task has an honest checker.

    The coalition leaves every other check unanswered that it can: a seat stays silent only if all
    its candidates collude, in the first draw and in the second.
    """
    one_seat = Fraction(1, checks)
    seats = checks + gatherers
    total = Fraction(0)
    sizes = [candidates(seat, seats, verifiers, TURNS) for seat in range(checks)]
    for mine in sorted(set(sizes)):
        others = list(sizes)
        others.remove(mine)
        silent = taken_whole(
            others,
            lambda n: within(verifiers - 1, colluding, n) * within(verifiers, colluding, n),
        )
        weight = one_seat * sizes.count(mine)
        total += weight * sum(silent[k] for k in range(len(silent)) if 3 * k > checks)
    return total


# --- what one duty brings ---


def lied_work(t: Terms, members: int, ours: int) -> int:
    """Of a lying worker whose checker dissents: pay, bonds and fees of the whole coalition."""
    truth = -t.bond + (ours * t.fee - t.reward if ours else 0)
    if 2 * ours > members:
        return max(truth, t.reward + ours * t.fee)
    if 2 * ours == members:
        cost = members * t.fee
        return max(truth, t.reward // 2 - cost // 2 + ours * t.fee)
    return max(truth, -t.bond)


def lied_check(t: Terms, members: int, ours: int) -> int:
    """Of a checker that dissents falsely from an honest worker."""
    truth = -t.bond + (ours * t.fee - t.reward if ours else 0)
    if 2 * ours > members:
        pot = t.bond * (1 + members - ours) - ours * t.fee
        return max(truth, t.fee + ours * t.fee + min(t.bond // 10, pot))
    if 2 * ours == members:
        cost = members * t.fee
        return max(truth, t.fee - (cost - cost // 2) + ours * t.fee)
    return max(truth, -t.bond)


def lied_challenge(t: Terms, members: int, ours: int, *, drawn: bool) -> int:
    """Of a challenger that accuses an honest result, checked by an honest verifier where drawn."""
    truth = -t.bond + (ours * t.fee - t.reward if ours else 0)
    if 2 * ours > members:
        pot = t.bond * (1 + drawn + members - ours) - ours * t.fee
        return max(truth, ours * t.fee + min(t.bond // 10, pot))
    if 2 * ours == members:
        return max(truth, -members * t.fee + ours * t.fee)
    return max(truth, -t.bond)


def panel_gains(
    rows: list[tuple[int, int, Fraction]], value: Callable[[int, int], int], weight: Fraction
) -> Gains:
    """The same over panels, where `weight` is the chance that one sits."""
    return [(weight * chance, value(n, k)) for n, k, chance in rows]


# --- gains over honest play ---


def expectation(gains: Gains) -> Fraction:
    """What they bring on average."""
    return sum((chance * gain for chance, gain in gains), Fraction(0))


def deviation(gains: Gains) -> float:
    """Their standard deviation; rare amounts count although few rounds would show one."""
    average = expectation(gains)
    return sqrt(sum(chance * (gain - average) ** 2 for chance, gain in gains))


def skip_work(s: Setting, *, void: bool = False) -> Gains:
    """Seal any other root than the true one, having computed nothing: garbage, stale, scaled.

    Undrawn it is paid; a colluding checker confirms it, which brings the pay (its fee it has
    anyway); an honest one dissents. With `void` the coalition then silences the round where it
    can, at no cost that is counted.
    """
    t, p = s.terms, s.checked  # the reward is what computing costs
    ours = Fraction(s.colluding, s.verifiers)
    rows = panels(s.verifiers, t.panel, 1, s.colluding)
    caught = panel_gains(rows, lambda n, k: lied_work(t, n, k), p * (1 - ours))
    if void and expectation(caught) < 0:
        hidden = escape(s)
        caught = [(chance * (1 - hidden), gain) for chance, gain in caught]
        caught.append((p * (1 - ours) * hidden, 0))
    return [(1 - p, t.reward), (p * ours, t.reward), *caught]


def false_dissent(s: Setting) -> Gains:
    """Check without computing: any answer that is not the worker's."""
    t = s.terms
    rows = panels(s.verifiers, t.panel, 1, s.colluding - 1)
    honest = t.fee - t.reward
    return panel_gains(rows, lambda n, k: lied_check(t, n, k) - honest, Fraction(1))


def false_challenge(s: Setting) -> Gains:
    """Challenge an honest result, drawn or not; whoever does not gets nothing."""
    t = s.terms
    gains: Gains = []
    for drawn, chance in ((True, s.checked), (False, 1 - s.checked)):
        rows = panels(s.verifiers, t.panel, 1 + drawn, s.colluding - 1)
        gains += panel_gains(
            rows, lambda n, k, drawn=drawn: lied_challenge(t, n, k, drawn=drawn), chance
        )
    return gains


def wrong_update(s: Setting, *, join: bool) -> Gains:
    """Propose a wrong update; the colluding checkers `join` in the lie, or keep silent.

    Honest play brings u, less the cost of computing it, for each duty: nothing. Silent ones are
    counted as if the drawn two could hide it whenever both collude, which turns make less likely.
    """
    t = s.terms
    checkers = t.gatherers + 2
    rows = panels(s.verifiers, t.panel, 0, s.colluding)
    gains: Gains = []
    for k, chance in enumerate(seated(s.verifiers, s.colluding, checkers)):
        if k == checkers:
            gains.append((chance, (1 + k) * t.update_fee))
            continue
        stake, pay = (t.coordinator_bond + k * t.bond, 1 + k) if join else (t.coordinator_bond, 1)

        def value(n: int, ours: int, stake: int = stake, pay: int = pay) -> int:
            truth = -stake + (ours * t.update_fee - t.update_fee if ours else 0)
            if 2 * ours > n:
                return max(truth, (pay + ours) * t.update_fee)
            return max(truth, -stake)

        gains += panel_gains(rows, value, chance)
    if join:
        return gains
    pair = s.colluding * (s.colluding - 1)
    hidden = Fraction(pair, s.verifiers * (s.verifiers - 1))
    # Nothing is paid, nothing is slashed.
    return [(hidden, 0), *((chance * (1 - hidden), gain) for chance, gain in gains)]


def withhold(s: Setting) -> Fraction:
    """What serving a result may cost before withholding it pays, for a colluding worker.

    One gatherer that lies is enough for a result to count as left out, which is paid.
    """
    t = s.terms
    none = seated(s.verifiers, s.colluding, t.gatherers)[0]
    return none * (t.reward - t.reward // 2)


def panel_error(s: Setting, barred: int = 1) -> Fraction:
    """Chance that a panel which faces a lie of the coalition does not lead with the truth."""
    rows = panels(s.verifiers, s.terms.panel, barred, s.colluding)
    return sum((chance for n, k, chance in rows if 2 * k >= n), Fraction(0))


# --- deeds whose price no chance changes ---


def deeds(t: Terms) -> dict[str, int]:
    """Gain over honest play, whoever else acts; that brings its fee, less what it costs."""
    half, check, update = t.reward // 2, t.fee - t.reward, 0
    return {
        "drawn, and does not open": -t.bond,
        "undrawn, and does not open": -half,
        "claims a task and seals nothing": -half,
        "answers no check": -check,
        "seals a check and is paid not to open it": -t.bond - check,
        "panel member that does not open": -t.bond - check,
        "coordinator that proposes nothing": -update,
        "coordinator that does not open": -t.coordinator_bond - update,
        "gatherer that does not check the update": -update,
    }
