"""Answering a question: compute it, write its files, publish them, make the opening.

A task and an update are answered the same way by whoever is asked: worker, verifier, panel,
coordinator. An answer is a pure function of public inputs, so it is kept and used again when the
same question comes back in another stage.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from protocol.role.job_files import JobFiles
from protocol.role.openings import Opening, make_opening, new_salt
from protocol.role.pins import Pins
from protocol.rules.history import JobHistory, RoundHistory
from protocol.rules.records import ZERO32, Address, JobId, Outcome, Stage, bits
from protocol.rules.sealing import SealContext
from protocol.training.bundle import write_bundle
from protocol.training.program import Result, compute_task, compute_update

log = structlog.get_logger()
Tamper = Callable[[JobHistory, RoundHistory, Result], Result]


@dataclass(frozen=True, slots=True)
class Computed:
    """An answer, before it is bound to a seat."""

    root: bytes
    cid: bytes
    witness: bytes


class Answerer:
    """Computes on behalf of one provider; `tamper` may spoil results (tests and the demo)."""

    def __init__(
        self,
        files: JobFiles,
        pins: Pins,
        folder: Path,
        chain_id: int,
        market: Address,
        provider: Address,
        tamper: Tamper | None = None,
    ) -> None:
        self.files = files
        self.pins = pins
        self.folder = folder
        self.chain_id = chain_id
        self.market = market
        self.provider = provider
        self.tamper = tamper
        self._computed: dict[tuple[JobId, int, int, int], Computed] = {}

    def answer(
        self,
        past: JobHistory,
        record: RoundHistory,
        stage: Stage,
        question: int,
        seat: int,
        included: int,
    ) -> Opening:
        """The opening of one seat: computed now, or remembered from another stage.

        `included` is the bitmap of tasks in the update; it matters for the update's question only.
        """
        context = SealContext(
            self.chain_id, self.market, past.job, record.number, question, stage, self.provider
        )
        done = self.compute(past, record, question, included)
        return make_opening(context, seat, done.root, done.cid, done.witness, new_salt())

    def compute(
        self, past: JobHistory, record: RoundHistory, question: int, included: int
    ) -> Computed:
        """Compute and publish one question."""
        is_update = question == past.terms.update_question
        key = (past.job, record.number, question, included if is_update else 0)
        if key not in self._computed:
            result = (
                self._update(past, record, included)
                if is_update
                else self._task(past, record, question)
            )
            self._computed[key] = self._publish(past, record, question, result)
        return self._computed[key]

    def forget(self, job: JobId) -> None:
        """Drop the answers and the files of a job that is over."""
        for key in [key for key in self._computed if key[0] == job]:
            del self._computed[key]
        for folder in self.folder.glob(f"{job}-*-*"):
            shutil.rmtree(folder)

    def _task(self, past: JobHistory, record: RoundHistory, task: int) -> Result:
        files = self.files
        state = files.state(past, record.state_root, record.state_cid)
        result = compute_task(files.manifest(past), state, files.dataset(past), record.number, task)
        if self.tamper is not None:
            result = self.tamper(past, record, result)
        return result

    def _update(self, past: JobHistory, record: RoundHistory, included: int) -> Result:
        files = self.files
        state = files.state(past, record.state_root, record.state_cid)
        results = {}
        for task in bits(included):
            outcome = revealed(record, task)
            assert outcome is not None, "only revealed tasks are included"
            results[task] = files.result(past, outcome.root, outcome.cid)
        return compute_update(files.manifest(past), state, results, files.dataset(past))

    def _publish(
        self, past: JobHistory, record: RoundHistory, question: int, result: Result
    ) -> Computed:
        if result.is_nonfinite:
            return Computed(result.root, ZERO32, result.witness)
        folder = self.folder / f"{past.job}-{record.number}-{question}"
        shutil.rmtree(folder, ignore_errors=True)
        bundle = write_bundle(result.tensors, folder)
        self.pins.hold(past.job, bundle.cid, bundle.shard_cids, stays=False)
        for path in (*bundle.shard_paths, bundle.index_path):
            self.files.store.publish(path)
        return Computed(bundle.root, bundle.index_digest, result.witness)


def revealed(record: RoundHistory, task: int) -> Outcome | None:
    """The outcome that a task's worker has opened."""
    work = record.seal(Stage.WORK, task)
    return None if work is None else work.outcome
