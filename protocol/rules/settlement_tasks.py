"""Judging one task: what its worker, its checker, a challenger and a panel get or lose."""

from protocol.rules.history import Seal
from protocol.rules.records import Address, Reason, Stage, TaskResult
from protocol.rules.sealing import is_finite, outcome_hash
from protocol.rules.settlement_ledger import Ledger, leader, shows


class TaskJudge(Ledger):
    """Judges the tasks of one round, each on its own."""

    def void(self, task: int) -> None:
        """Release everything; answered checks are paid all the same."""
        sealed = self.round.seal(Stage.WORK, task)
        self.out.results[task] = TaskResult.VOID if sealed else self._empty(task)
        check = self.round.seal(Stage.CHECK, task)
        if check is not None:
            self._credit(check.provider, task, Reason.CHECK_PAID, self.terms.fee)

    def judge(self, task: int, drawn: bool) -> TaskResult:
        """How the task came out; its money is written down."""
        terms = self.terms
        work = self.round.seal(Stage.WORK, task)
        check = self.round.seal(Stage.CHECK, task)
        if work is None:
            return self._empty(task)
        if drawn and check is None:
            return TaskResult.RELEASED
        if work.outcome is None:
            return self._unopened(work, check)
        challenge = self.round.seal(Stage.CHALLENGE, task)
        dissent = check is not None and not shows(check, outcome_hash(work.outcome))
        if not dissent and challenge is None:
            if check is not None:
                self._credit(check.provider, task, Reason.CHECK_PAID, terms.fee)
            return self._passed(work)
        panel = self.round.seals_of(Stage.PANEL, task)
        lead = leader(seal.outcome for seal in panel if seal.outcome is not None)
        if lead is not None:
            return self._verdict(work, check, challenge, panel, lead)
        if challenge is not None:
            return self._unproven(work, check, challenge, panel)
        assert check is not None
        return self._undecided(work, check, panel)

    def _empty(self, task: int) -> TaskResult:
        """Nobody sealed; whoever had claimed the task loses half its pay."""
        claim = self.round.claims.get(task)
        if claim is not None:
            self._penalise(claim[1], task)
        return TaskResult.EMPTY

    def _penalise(self, provider: Address, task: int) -> None:
        half = self.terms.reward // 2
        self._slash_provider(provider, task, Reason.LIVENESS, half)
        self._burn(task, Reason.LIVENESS, half)

    def _unopened(self, work: Seal, check: Seal | None) -> TaskResult:
        """Nobody opened the worker's seal: drawn it costs B, undrawn half the pay."""
        task, terms = work.question, self.terms
        if check is None:
            self._penalise(work.provider, task)
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
        rejected = not shows(work, lead)
        if rejected:
            pot += self._slash_bound(work, terms.bond)
        if check is not None:
            if shows(check, lead):
                self._credit(check.provider, task, Reason.CHECK_PAID, terms.fee)
                raiser = check if rejected else None
            else:
                pot += self._slash_bound(check, terms.bond)
        if challenge is not None:
            # The accused's own outcome is no challenge, even where it wins.
            if rejected and shows(challenge, lead):
                raiser = challenge
            else:
                pot += self._slash_bound(challenge, terms.bond)
        self._share(pot, panel, lead, terms.fee, raiser, task)
        return TaskResult.REJECTED if rejected else self._passed(work)

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
