"""Who is paid, who is slashed, and why: the whole judgement of a round, derived from its record.

An auditor runs `settle` over the history of a finished round and compares every line with the money
that really moved; it shares nothing with the contract but the rules. Amounts are integers in the
token's smallest unit.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.rules.draws import drawn_tasks
from protocol.rules.history import Line, RoundHistory, Seal
from protocol.rules.records import (
    ZERO_ADDRESS,
    Address,
    Outcome,
    Phase,
    Reason,
    Stage,
    TaskResult,
    Terms,
)
from protocol.rules.sealing import is_finite, outcome_hash


@dataclass(slots=True)
class Settlement:
    """What a round comes to."""

    results: dict[int, TaskResult] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    included: int = 0
    update: Outcome | None = None
    is_void: bool = False
    coordinator_removed: bool = False


def settle(terms: Terms, round_: RoundHistory) -> Settlement:
    """Judge a finished round."""
    return _Judge(terms, round_).judge()


def _lead(votes: Iterable[Outcome]) -> bytes | None:
    """Hash of the outcome with the most votes; a tie is no lead."""
    ranking = Counter(outcome_hash(vote) for vote in votes).most_common(2)
    if not ranking or (len(ranking) == 2 and ranking[0][1] == ranking[1][1]):
        return None
    return ranking[0][0]


def _is(seal: Seal | None, outcome: bytes) -> bool:
    """True where the seal was opened and shows this outcome."""
    return seal is not None and seal.outcome is not None and outcome_hash(seal.outcome) == outcome


class _Judge:
    def __init__(self, terms: Terms, round_: RoundHistory) -> None:
        self.terms = terms
        self.round = round_
        self.out = Settlement()

    # --- the ledger ---

    def _credit(self, to: Address, question: int, reason: Reason, amount: int) -> None:
        if amount:
            self.out.lines.append(Line("credit", to, question, reason, amount))

    def _burn(self, question: int, reason: Reason, amount: int) -> None:
        if amount:
            self.out.lines.append(Line("burn", ZERO_ADDRESS, question, reason, amount))

    def _slash(self, seal: Seal, reason: Reason, amount: int) -> int:
        if amount:
            self.out.lines.append(Line("slash", seal.provider, seal.question, reason, amount))
        return amount

    def _slash_bound(self, seal: Seal, amount: int) -> int:
        reason = Reason.UNOPENED if seal.outcome is None else Reason.WRONG
        return self._slash(seal, reason, amount)

    # --- the round ---

    def judge(self) -> Settlement:
        terms, round_ = self.terms, self.round
        sealed = sum(1 << task for task in range(terms.tasks) if round_.seal(Stage.WORK, task))
        draw = round_.beacons.get(Phase.DRAW)
        drawn = 0 if draw is None else drawn_tasks(draw, sealed, terms.tasks, terms.checks)
        unanswered = sum(
            1
            for task in range(terms.tasks)
            if drawn >> task & 1 and round_.seal(Stage.CHECK, task) is None
        )
        self.out.is_void = unanswered * 3 > drawn.bit_count()
        for task in range(terms.tasks):
            if self.out.is_void:
                self._void(task)
            else:
                self.out.results[task] = self._task(task, bool(drawn >> task & 1))
                if self.out.results[task] == TaskResult.INCLUDED:
                    self.out.included |= 1 << task
        if not self.out.is_void:
            self._update()
        return self.out

    def _void(self, task: int) -> None:
        sealed = self.round.seal(Stage.WORK, task)
        self.out.results[task] = TaskResult.VOID if sealed else TaskResult.EMPTY
        check = self.round.seal(Stage.CHECK, task)
        if check is not None:
            self._credit(check.provider, task, Reason.CHECK_PAID, self.terms.fee)

    # --- one task ---

    def _task(self, task: int, drawn: bool) -> TaskResult:
        terms = self.terms
        work = self.round.seal(Stage.WORK, task)
        check = self.round.seal(Stage.CHECK, task)
        if work is None:
            return TaskResult.EMPTY
        if drawn and check is None:
            return TaskResult.RELEASED
        if work.outcome is None:
            return self._unopened(work, check)
        challenge = self.round.seal(Stage.CHALLENGE, task)
        dissent = check is not None and not _is(check, outcome_hash(work.outcome))
        if not dissent and challenge is None:
            if check is not None:
                self._credit(check.provider, task, Reason.CHECK_PAID, terms.fee)
            return self._passed(work)
        panel = self.round.seals_of(Stage.PANEL, task)
        lead = _lead(seal.outcome for seal in panel if seal.outcome is not None)
        if lead is not None:
            return self._verdict(work, check, challenge, panel, lead)
        if challenge is not None:
            return self._unproven(work, check, challenge, panel)
        assert check is not None
        return self._undecided(work, check, panel)

    def _unopened(self, work: Seal, check: Seal | None) -> TaskResult:
        """Nobody opened the worker's seal: drawn it costs B, undrawn half the pay."""
        task, terms = work.question, self.terms
        if check is None:
            taken = self._slash(work, Reason.LIVENESS, terms.reward // 2)
            self._burn(task, Reason.LIVENESS, taken)
            return TaskResult.UNOPENED
        self._burn(task, Reason.REMAINDER, self._slash(work, Reason.UNOPENED, terms.bond))
        if check.outcome is None:
            self._burn(task, Reason.REMAINDER, self._slash(check, Reason.UNOPENED, terms.bond))
        else:
            self._credit(check.provider, task, Reason.CHECK_PAID, terms.fee)
        return TaskResult.UNOPENED

    def _passed(self, work: Seal) -> TaskResult:
        """Pay a result that nobody rejected, by what the gatherers hold."""
        task, reward = work.question, self.terms.reward
        assert work.outcome is not None
        if not is_finite(work.outcome):
            self._credit(work.provider, task, Reason.TASK_PAID, reward)
            return TaskResult.NON_FINITE
        votes = [
            bitmap >> task & 1
            for provider, bitmap in self.round.gathered.values()
            if provider != work.provider
        ]
        if 2 * sum(votes) > len(votes):
            self._credit(work.provider, task, Reason.TASK_PAID, reward)
            return TaskResult.INCLUDED
        if not any(votes) and len(votes) >= 2:
            self._half(work)
            return TaskResult.WITHHELD
        self._credit(work.provider, task, Reason.TASK_PAID, reward)
        return TaskResult.LEFT_OUT

    def _half(self, work: Seal) -> None:
        half = self.terms.reward // 2
        self._credit(work.provider, work.question, Reason.TASK_HALVED, half)
        self._burn(work.question, Reason.TASK_HALVED, self.terms.reward - half)

    def _verdict(
        self,
        work: Seal,
        check: Seal | None,
        challenge: Seal | None,
        panel: list[Seal],
        lead: bytes,
    ) -> TaskResult:
        task, terms = work.question, self.terms
        pot = 0
        raiser = None
        rejected = not _is(work, lead)
        if rejected:
            pot += self._slash_bound(work, terms.bond)
        if check is not None:
            if _is(check, lead):
                self._credit(check.provider, task, Reason.CHECK_PAID, terms.fee)
                raiser = check if rejected else None
            else:
                pot += self._slash_bound(check, terms.bond)
        if challenge is not None:
            # The accused's own outcome is no challenge, even where it wins.
            if rejected and _is(challenge, lead):
                raiser = challenge
            else:
                pot += self._slash_bound(challenge, terms.bond)
        self._share(pot, panel, lead, terms.fee, raiser, task)
        return TaskResult.REJECTED if rejected else self._passed(work)

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
            if not _is(seal, lead):
                pot += self._slash_bound(seal, self.terms.bond)
        for seal in panel:
            if _is(seal, lead):
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

    def _undecided(self, work: Seal, check: Seal, panel: list[Seal]) -> TaskResult:
        """A dissent without a lead: the task is left out, half paid; the sides share the fees."""
        task, terms = work.question, self.terms
        pot, owed = self._panel_without_lead(panel, terms.fee, task)
        if check.outcome is None:
            pot += self._slash(check, Reason.UNOPENED, terms.bond)
        else:
            self._credit(check.provider, task, Reason.CHECK_PAID, terms.fee)
            pot += self._slash(check, Reason.PANEL_COSTS, owed - owed // 2)
            pot += self._slash(work, Reason.PANEL_COSTS, owed // 2)
        self._half(work)
        self._burn(task, Reason.REMAINDER, pot - owed)
        return TaskResult.UNDECIDED

    def _unproven(
        self, work: Seal, check: Seal | None, challenge: Seal, panel: list[Seal]
    ) -> TaskResult:
        """A challenge without a lead: the result stands, the challenger pays."""
        task, fee = work.question, self.terms.fee
        pot, owed = self._panel_without_lead(panel, fee, task)
        if check is not None:
            self._credit(check.provider, task, Reason.CHECK_PAID, fee)
        pot += self._charge_challenger(challenge, work, owed)
        self._burn(task, Reason.REMAINDER, pot - owed)
        return self._passed(work)

    def _charge_challenger(self, challenge: Seal, accused: Seal, costs: int) -> int:
        """The panel's costs; the whole bond of one that names nothing new."""
        assert accused.outcome is not None
        if challenge.outcome is None or _is(challenge, outcome_hash(accused.outcome)):
            return self._slash_bound(challenge, self.terms.bond)
        return self._slash(challenge, Reason.PANEL_COSTS, costs)

    # --- the update ---

    def _update(self) -> None:
        question = self.terms.update_question
        proposal = self.round.seal(Stage.UPDATE, question)
        checks = self.round.seals_of(Stage.UPDATE_CHECK, question)
        if proposal is None or not any(s.seat >= self.terms.gatherers for s in checks):
            self._pay_gatherers()
            return
        challenge = self.round.seal(Stage.UPDATE_CHALLENGE, question)
        panel = self.round.seals_of(Stage.UPDATE_PANEL, question)
        agreed = proposal.outcome is not None and all(
            _is(s, outcome_hash(proposal.outcome)) for s in checks
        )
        if agreed and challenge is None:
            assert proposal.outcome is not None
            self._accept(proposal.outcome, proposal, checks)
            return
        lead = _lead(seal.outcome for seal in panel if seal.outcome is not None)
        if lead is None:
            self._update_undecided(proposal, checks, challenge, panel, agreed=agreed)
        else:
            self._update_verdict(proposal, checks, challenge, panel, lead)

    def _accept(self, outcome: Outcome, proposal: Seal | None, checks: list[Seal]) -> None:
        if is_finite(outcome):
            self.out.update = outcome
        if proposal is not None and _is(proposal, outcome_hash(outcome)):
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
                earned = _is(seal, accepted)
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
        if not _is(proposal, lead):
            pot += self._slash_bound(proposal, terms.coordinator_bond)
            self.out.coordinator_removed = True
        for seal in checks:
            if not _is(seal, lead):
                pot += self._slash_bound(seal, terms.bond)
        raiser = None
        if not _is(proposal, lead):
            raiser = next((seal for seal in checks if _is(seal, lead)), None)
        if challenge is not None:
            if _is(challenge, lead) and not _is(proposal, lead):
                raiser = challenge
            else:
                pot += self._slash_bound(challenge, terms.bond)
        self._share(pot, panel, lead, terms.update_fee, raiser, terms.update_question)
        outcome = next(
            seal.outcome for seal in panel if seal.outcome is not None and _is(seal, lead)
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
        # A bond that was touched ends the post.
        self.out.coordinator_removed = taken > 0
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
        return next((seal for seal in checks if not _is(seal, stated)), None)
