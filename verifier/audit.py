"""The auditor: everything a market claims about a job, derived again from public data alone.

It reads the chain and the content store and nothing else; holds no key, trusts no role. Per round
it checks chance (beacons against block hashes, seats against draws), work (every sampled task and
the update, recomputed to the last bit) and money (every payment, slash and burn re-derived from the
rules).
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from eth_hash.auto import keccak
from torch import Tensor

from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.database.opening import open_database
from protocol.role.answers import revealed
from protocol.role.job_files import JobFiles
from protocol.rules.errors import RuleError
from protocol.rules.history import JobHistory, Line, MarketHistory, RoundHistory
from protocol.rules.records import (
    ZERO32,
    Ending,
    JobId,
    Outcome,
    Reason,
    TaskResult,
    bits,
)
from protocol.rules.sealing import outcome_hash, witness_hash, words
from protocol.rules.settlement import Settlement, settle
from protocol.storage.errors import NotFound
from protocol.training.bundle import write_bundle
from protocol.training.program import CPU, Result, compute_task, compute_update
from verifier.seating import seated

Progress = Callable[[str, int, int], None]
Picks = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where record and re-derivation part: what was claimed, what follows from the rules."""

    where: str
    claimed: str
    derived: str


class ResultGone(NotFound):
    """A result that the sample left out is needed for an update, and nobody serves it any more."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"{where} is not in the sample, and its published result cannot be had",
            why=f"Workers release their results two rounds later, or when a job has ended. {why}",
            fix="Audit without --sample: what is recomputed need not be fetched.",
        )


class _Inconsistent(Exception):
    def __init__(self, where: str, claimed: object, derived: object) -> None:
        super().__init__(where)
        self.difference = Difference(where, _shown(claimed), _shown(derived))


@dataclass(slots=True)
class Audit:
    """What was checked, counted by kind, and the first difference, if any."""

    job: JobId
    counts: Counter[str]
    difference: Difference | None = None
    rounds: int = 0
    final_root: bytes = b""

    @property
    def consistent(self) -> bool:
        """True where nothing differed."""
        return self.difference is None


def audit_job(
    chain: Chain,
    files: JobFiles,
    job: JobId,
    picks: Picks,
    progress: Progress,
    device: torch.device = CPU,
) -> Audit:
    """Audit every finished round of a job; `picks(round, task)` chooses what `device` recomputes.

    `progress(what, done, total)` counts rounds and tasks. Raises RuleError for an unknown job and
    StorageError where public data cannot be had, ResultGone where recomputing more would help: then
    nothing can be said.
    """
    market = Indexer(chain, open_database(None)).sync()
    past = market.jobs.get(job)
    if past is None:
        raise RuleError(f"there is no job {job} on this market", fix="See `gradproof job show`.")
    return _Auditor(chain, files, market, past, picks, progress, device).run()


class _Auditor:
    def __init__(
        self,
        chain: Chain,
        files: JobFiles,
        market: MarketHistory,
        past: JobHistory,
        picks: Picks,
        progress: Progress,
        device: torch.device,
    ) -> None:
        self.device = device
        self.chain = chain
        self.files = files
        self.market = market
        self.past = past
        self.picks = picks
        self.progress = progress
        self.audit = Audit(past.job, Counter())
        self.manifest = files.manifest(past)
        self.dataset = files.dataset(past)
        self.state: dict[str, Tensor] = {}
        self.state_root = past.terms.genesis_root
        self.state_cid = past.terms.genesis_cid

    def run(self) -> Audit:
        try:
            self.state = self.files.state(self.past, self.state_root, self.state_cid)
            finished = [r for r in self.past.rounds if r.finalised]
            for round_ in finished:
                self.progress("rounds", round_.number, len(finished))
                self._round(round_)
                self.audit.rounds += 1
            self.progress("rounds", len(finished), len(finished))
            self._same("final state root", self.past.state_root, self.state_root)
            self._escrow()
        except _Inconsistent as found:
            self.audit.difference = found.difference
        self.audit.final_root = self.state_root
        return self.audit

    def _same(self, where: str, claimed: object, derived: object) -> None:
        if claimed != derived:
            raise _Inconsistent(where, claimed, derived)

    # --- one round ---

    def _round(self, round_: RoundHistory) -> None:
        where = f"round {round_.number}"
        self._same(f"{where}: state root", round_.state_root, self.state_root)
        self._beacons(round_, where)
        self._seats(round_, where)
        judged = settle(self.past.terms, round_)
        self._money(round_, judged, where)
        recomputed = self._tasks(round_, where)
        self._update(round_, judged, recomputed, where)

    def _beacons(self, round_: RoundHistory, where: str) -> None:
        for phase, value in round_.beacons.items():
            number = round_.beacon_blocks[phase]
            header = self.chain.header(number)
            derived = ZERO32
            if header is not None:
                derived = keccak(words(header[0], self.past.job, round_.number, int(phase)))
            self._same(f"{where}: beacon {phase.name} of block {number}", value, derived)
            self.audit.counts["beacons"] += 1

    def _seats(self, round_: RoundHistory, where: str) -> None:
        """Every seal was made by whom chance had put there."""
        for seal, provider in seated(self.past, round_, self.market):
            self._same(
                f"{where}: provider of {seal.stage.name} {seal.question}.{seal.seat}",
                seal.provider,
                provider,
            )
            self.audit.counts["seats"] += 1

    def _money(self, round_: RoundHistory, judged: Settlement, where: str) -> None:
        for task, result in judged.results.items():
            claimed = round_.results.get(task, TaskResult.EMPTY)
            self._same(f"{where}: result of task {task}", claimed.name, result.name)
        claimed_lines = Counter(line.key for line in round_.lines)
        derived_lines = Counter(line.key for line in judged.lines)
        for key in sorted((claimed_lines - derived_lines) + (derived_lines - claimed_lines)):
            kind, account, question, reason, amount = key
            raise _Inconsistent(
                f"{where}: {kind} of {amount} to {account} for question {question}, "
                f"{Reason(reason).name}",
                f"{claimed_lines[key]} times",
                f"{derived_lines[key]} times",
            )
        self.audit.counts["payments"] += len(round_.lines)

    # --- the work ---

    def _tasks(self, round_: RoundHistory, where: str) -> dict[int, Result]:
        done = {}
        total = self.past.terms.tasks
        for task in range(total):
            outcome = revealed(round_, task)
            if outcome is None or not self.picks(round_.number, task):
                continue
            self.progress("tasks", round_.number * total + task, self.past.terms.rounds * total)
            done[task] = compute_task(
                self.manifest,
                self.state,
                self.dataset,
                round_.number,
                task,
                device=self.device,
            )
            truth = self._outcome(done[task], round_, task)
            self._judge_task(round_, task, outcome, truth, where)
            self.audit.counts["tasks recomputed"] += 1
        return done

    def _judge_task(
        self, round_: RoundHistory, task: int, outcome: Outcome, truth: Outcome, where: str
    ) -> None:
        """A wrong result must not have been paid; a verdict must have found the truth."""
        result = round_.results.get(task, TaskResult.EMPTY)
        accepted = (
            TaskResult.INCLUDED,
            TaskResult.LEFT_OUT,
            TaskResult.WITHHELD,
            TaskResult.NON_FINITE,
        )
        if result in accepted:
            self._same(f"{where}: root of task {task}", outcome.root, truth.root)
            self._same(f"{where}: CID of task {task}", outcome.cid, truth.cid)
            self._same(f"{where}: witness of task {task}", outcome.h, truth.h)
        elif result == TaskResult.REJECTED:
            if outcome == truth:
                raise _Inconsistent(f"{where}: task {task}", "rejected", "the result was right")
            verdict = round_.verdicts[task][1]
            self._same(f"{where}: verdict on task {task}", verdict, outcome_hash(truth))
            self.audit.counts["cheats confirmed"] += 1

    def _outcome(self, result: Result, round_: RoundHistory, question: int) -> Outcome:
        h = witness_hash(self.past.job, round_.number, question, result.witness)
        if result.is_nonfinite:
            return Outcome(result.root, ZERO32, h)
        with tempfile.TemporaryDirectory(prefix="gradproof-audit-") as scratch:
            bundle = write_bundle(result.tensors, Path(scratch))
        return Outcome(bundle.root, bundle.index_digest, h)

    def _update(
        self,
        round_: RoundHistory,
        judged: Settlement,
        recomputed: dict[int, Result],
        where: str,
    ) -> None:
        derived = judged.update
        claimed = round_.update
        self._same(
            f"{where}: accepted update",
            claimed,
            None if derived is None else (derived.root, derived.cid),
        )
        if derived is None:
            return
        results = {}
        for task in bits(judged.included):
            outcome = revealed(round_, task)
            assert outcome is not None
            results[task] = (
                dict(recomputed[task].tensors)
                if task in recomputed
                else self._published(outcome, f"{where}: task {task}")
            )
        update = compute_update(
            self.manifest, self.state, results, self.dataset, device=self.device
        )
        truth = self._outcome(update, round_, self.past.terms.update_question)
        self._same(f"{where}: root of the update", derived.root, truth.root)
        self._same(f"{where}: CID of the update", derived.cid, truth.cid)
        self._same(f"{where}: witness of the update", derived.h, truth.h)
        self.audit.counts["updates recomputed"] += 1
        self.state = dict(update.tensors)
        self.state_root, self.state_cid = truth.root, truth.cid

    def _published(self, outcome: Outcome, where: str) -> dict[str, Tensor]:
        """The result of a task that the sample left out, as its worker published it."""
        try:
            return self.files.result(self.past, outcome.root, outcome.cid)
        except NotFound as error:
            raise ResultGone(where, str(error)) from error

    # --- the end ---

    def _escrow(self) -> None:
        """Escrow and slashed bonds went out as payments, burns and refund, to the last unit."""
        lines: list[Line] = [line for r in self.past.rounds for line in r.lines]
        lines += self.past.lines
        came = self.past.escrow + sum(line.amount for line in lines if line.kind == "slash")
        went = sum(line.amount for line in lines if line.kind != "slash")
        left = self.chain.call(self.chain.vault, "escrowOf", self.past.job)
        self._same("money left in the job's ledger", left, came - went)
        if self.past.ending != Ending.NONE:
            self._same("money left after the end", left, 0)
        self.audit.counts["ledgers"] += 1


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return " ".join(_shown(part) for part in value)
    return str(value)
