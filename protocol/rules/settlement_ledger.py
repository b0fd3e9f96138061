"""What every judgement of a round works with: votes, outcomes, and lines of money."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.rules.history import Line, RoundHistory, Seal
from protocol.rules.records import ZERO_ADDRESS, Address, Outcome, Reason, TaskResult, Terms
from protocol.rules.sealing import outcome_hash


@dataclass(slots=True)
class Settlement:
    """What a round comes to."""

    results: dict[int, TaskResult] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    included: int = 0
    update: Outcome | None = None
    is_void: bool = False
    coordinator_removed: bool = False


def leader(votes: Iterable[Outcome]) -> bytes | None:
    """Hash of the outcome with the most votes; a tie is no lead."""
    ranking = Counter(outcome_hash(vote) for vote in votes).most_common(2)
    if not ranking or (len(ranking) == 2 and ranking[0][1] == ranking[1][1]):
        return None
    return ranking[0][0]


def shows(seal: Seal | None, outcome: bytes) -> bool:
    """True where the seal was opened and shows this outcome."""
    return seal is not None and seal.outcome is not None and outcome_hash(seal.outcome) == outcome


class Ledger:
    """Writes the lines of one round; amounts of zero leave no line."""

    def __init__(self, terms: Terms, round_: RoundHistory, out: Settlement) -> None:
        self.terms = terms
        self.round = round_
        self.out = out

    def _credit(self, to: Address, question: int, reason: Reason, amount: int) -> None:
        if amount:
            self.out.lines.append(Line("credit", to, question, reason, amount))

    def _burn(self, question: int, reason: Reason, amount: int) -> None:
        if amount:
            self.out.lines.append(Line("burn", ZERO_ADDRESS, question, reason, amount))

    def _slash(self, seal: Seal, reason: Reason, amount: int) -> int:
        return self._slash_provider(seal.provider, seal.question, reason, amount)

    def _slash_provider(self, provider: Address, question: int, reason: Reason, amount: int) -> int:
        if amount:
            self.out.lines.append(Line("slash", provider, question, reason, amount))
        return amount

    def _slash_bound(self, seal: Seal, amount: int) -> int:
        reason = Reason.UNOPENED if seal.outcome is None else Reason.WRONG
        return self._slash(seal, reason, amount)

    def _share(
        self,
        pot: int,
        panel: list[Seal],
        lead: bytes,
        each: int,
        raiser: Seal | None,
        question: int,
    ) -> None:
        """The pot pays the panel's winners, then the raiser a tenth of B; the rest is burnt.

        It never runs short: somebody outside the panel is wrong, and B covers a whole panel.
        """
        for seal in panel:
            if not shows(seal, lead):
                pot += self._slash_bound(seal, self.terms.bond)
        for seal in panel:
            if shows(seal, lead):
                self._credit(seal.provider, question, Reason.PANEL_PAID, each)
                pot -= each
        assert pot >= 0, "the terms' bounds on B and C"
        if raiser is not None:
            share = min(self.terms.bond // 10, pot)
            self._credit(raiser.provider, question, Reason.RAISER_PAID, share)
            pot -= share
        self._burn(question, Reason.REMAINDER, pot)

    def _panel_without_lead(self, panel: list[Seal], each: int, question: int) -> tuple[int, int]:
        """Slash who did not open, pay who did; returns (slashed, owed to those who opened)."""
        pot = 0
        owed = 0
        for seal in panel:
            if seal.outcome is None:
                pot += self._slash(seal, Reason.UNOPENED, self.terms.bond)
            else:
                owed += each
                self._credit(seal.provider, question, Reason.PANEL_PAID, each)
        return pot, owed

    def _charge_challenger(self, challenge: Seal, accused: Seal, costs: int) -> int:
        """The panel's costs; the whole bond of one that names nothing new."""
        assert accused.outcome is not None
        if challenge.outcome is None or shows(challenge, outcome_hash(accused.outcome)):
            return self._slash_bound(challenge, self.terms.bond)
        return self._slash(challenge, Reason.PANEL_COSTS, costs)
