"""Judging the update: whether there is one, and what proposer, checkers and panel get or lose."""

from protocol.rules.history import Seal
from protocol.rules.records import Outcome, Reason, Stage
from protocol.rules.sealing import is_finite, outcome_hash
from protocol.rules.settlement_ledger import Ledger, leader, shows


class UpdateJudge(Ledger):
    """Judges the update of one round, which is question number `tasks`."""

    def judge(self) -> None:
        """Find the accepted update, if any; its money is written down."""
        question = self.terms.update_question
        proposal = self.round.proposal
        checks = self.round.seals_of(Stage.UPDATE_CHECK, question)
        if proposal is None or not any(s.seat >= self.terms.gatherers for s in checks):
            self._pay_gatherers()
            return
        challenge = self.round.seal(Stage.UPDATE_CHALLENGE, question)
        panel = self.round.seals_of(Stage.UPDATE_PANEL, question)
        agreed = proposal.outcome is not None and all(
            shows(s, outcome_hash(proposal.outcome)) for s in checks
        )
        if agreed and challenge is None:
            assert proposal.outcome is not None
            self._accept(proposal.outcome, proposal, checks)
            return
        lead = leader(seal.outcome for seal in panel if seal.outcome is not None)
        if lead is None:
            self._update_undecided(proposal, checks, challenge, panel, agreed=agreed)
        else:
            self._update_verdict(proposal, checks, challenge, panel, lead)

    def _accept(self, outcome: Outcome, proposal: Seal | None, checks: list[Seal]) -> None:
        if is_finite(outcome):
            self.out.update = outcome
        if proposal is not None and shows(proposal, outcome_hash(outcome)):
            self._credit(
                proposal.provider, proposal.question, Reason.UPDATE_PAID, self.terms.update_fee
            )
        self._pay_checkers(outcome_hash(outcome), checks)

    def _pay_gatherers(self) -> None:
        """u to everybody who posted, where no update was up for checking."""
        for _, (provider, _) in sorted(self.round.gathered.items()):
            self._credit(
                provider, self.terms.update_question, Reason.GATHER_PAID, self.terms.update_fee
            )

    def _pay_checkers(self, accepted: bytes | None, checks: list[Seal]) -> None:
        """u for each duty done: gatherers that are not slashed, drawn ones that were right.

        `accepted` is None where a panel found no lead; then nobody is known to be right.
        """
        question, fee = self.terms.update_question, self.terms.update_fee
        for seal in checks:
            gatherer = seal.seat < self.terms.gatherers
            if accepted is None:
                earned = gatherer and seal.outcome is not None
            else:
                earned = shows(seal, accepted)
            if earned:
                reason = Reason.GATHER_PAID if gatherer else Reason.UPDATE_CHECK_PAID
                self._credit(seal.provider, question, reason, fee)

    def _update_verdict(
        self,
        proposal: Seal,
        checks: list[Seal],
        challenge: Seal | None,
        panel: list[Seal],
        lead: bytes,
    ) -> None:
        terms = self.terms
        pot = 0
        if not shows(proposal, lead):
            pot += self._slash_bound(proposal, terms.coordinator_bond)
            self.out.coordinator_removed = _by_coordinator(proposal)
        for seal in checks:
            if not shows(seal, lead):
                pot += self._slash_bound(seal, terms.bond)
        raiser = None
        if not shows(proposal, lead):
            raiser = next((seal for seal in checks if shows(seal, lead)), None)
        if challenge is not None:
            if shows(challenge, lead) and not shows(proposal, lead):
                raiser = challenge
            else:
                pot += self._slash_bound(challenge, terms.bond)
        self._share(pot, panel, lead, terms.update_fee, raiser, terms.update_question)
        outcome = next(
            seal.outcome for seal in panel if seal.outcome is not None and shows(seal, lead)
        )
        self._accept(outcome, proposal, checks)

    def _update_undecided(
        self,
        proposal: Seal,
        checks: list[Seal],
        challenge: Seal | None,
        panel: list[Seal],
        *,
        agreed: bool,
    ) -> None:
        terms, question = self.terms, self.terms.update_question
        pot, owed = self._panel_without_lead(panel, terms.update_fee, question)
        if agreed:
            assert challenge is not None
            assert proposal.outcome is not None
            pot += self._charge_challenger(challenge, proposal, owed)
            self._burn(question, Reason.REMAINDER, pot - owed)
            self._accept(proposal.outcome, proposal, checks)
            return
        dissenter = self._dissenter(proposal, checks)
        if proposal.outcome is None:
            taken = self._slash(proposal, Reason.UNOPENED, terms.coordinator_bond)
        else:
            taken = self._slash(proposal, Reason.PANEL_COSTS, owed // 2)
        # A bond that was touched ends the post; a gatherer in the coordinator's place holds none.
        self.out.coordinator_removed = taken > 0 and _by_coordinator(proposal)
        pot += taken
        for seal in checks:
            if seal.outcome is None:
                pot += self._slash(seal, Reason.UNOPENED, terms.bond)
            elif seal is dissenter:
                pot += self._slash(seal, Reason.PANEL_COSTS, owed - owed // 2)
        self._burn(question, Reason.REMAINDER, pot - owed)
        self._pay_checkers(None, checks)

    def _dissenter(self, proposal: Seal, checks: list[Seal]) -> Seal | None:
        """The lowest seat that differs or did not open, where the proposer opened."""
        if proposal.outcome is None:
            return None
        stated = outcome_hash(proposal.outcome)
        return next((seal for seal in checks if not shows(seal, stated)), None)


def _by_coordinator(proposal: Seal) -> bool:
    """Seat 0 is the coordinator's, seat 1 + g that of the gatherer g."""
    return proposal.seat == 0
