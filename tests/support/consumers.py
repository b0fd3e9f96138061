"""Real consumers as processes of their own, and a job for them to compute."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from protocol.database.tables import ComputationRow
from protocol.fleet.computation import Computation, Computed, Work
from protocol.fleet.leases import Answered, Leases
from protocol.rules.records import JobId
from protocol.training.authoring import Authored
from protocol.training.bundle import read_bundle, write_bundle
from protocol.training.data import open_dataset
from protocol.training.model import schema
from protocol.training.program import compute_task
from tests.support.small_jobs import TRAINING

MARKET = "31337/0x00000000000000000000000000000000000000Aa"
SLOW = TRAINING | {
    "layers": 10,
    "width": 128,
    "sequence_length": 64,
    "sequences": 24,
    "evaluation_sequences": 24,
    "micro_batches": 24,
}
"""A task of some seconds: time enough to do something to whoever computes it."""
PATIENCE = 120.0


def computation_of(authored: Authored, task: int) -> Computation:
    """A task of the first round of a job."""
    genesis, manifest = authored.genesis, authored.manifest
    terms = Work(
        manifest.digest(), genesis.root, genesis.index_digest, manifest.rounds, manifest.tasks
    )
    state = (genesis.root, genesis.index_digest)
    return Computation(MARKET, JobId(1), terms, 0, task, *state)


def compute_alone(authored: Authored, task: int, folder: Path) -> Computed:
    """The same in this process, without any fleet."""
    manifest, files = authored.manifest, authored.files.__getitem__
    index = authored.genesis.index_path.read_bytes()
    state = read_bundle(index, files, schema(manifest), authored.genesis.root)
    result = compute_task(manifest, state, open_dataset(manifest, files), 0, task)
    bundle = write_bundle(result.tensors, folder)
    return Computed(result.root, bundle.index_digest, result.witness)


class ConsumerProcess:
    """`gradproof worker compute` in a home, with its log."""

    def __init__(self, home: Path, environment: dict[str, str], device: str = "cpu") -> None:
        self.log = home / f"{device}.log"
        home.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GRADPROOF_")}
        command = [sys.executable, "-m", "coordinator.cli.main", "worker", "compute"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--device", device],
                env=kept | {"GRADPROOF_HOME": str(home), "OMP_NUM_THREADS": "1"} | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def says(self, what: str) -> bool:
        """Tell whether the log has a line with this."""
        return what in self.log.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(30)


def until(happened: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


def row_of(engine: Engine, wanted: Computation, queue: str = "compute") -> ComputationRow:
    """What the database says of a computation."""
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(ComputationRow, (queue, wanted.key))


def await_answer(leases: Leases, wanted: Computation) -> Answered:
    """What a consumer found."""
    until(lambda: leases.answer(wanted.key) is not None, f"answer to {wanted.question}")
    found = leases.answer(wanted.key)
    assert found is not None
    return found
