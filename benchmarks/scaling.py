"""Rounds per minute with 1, 2, 4 and 8 workers, and what the coordinator itself costs per task.

Real roles as processes of their own, a real chain and store, the smallest model. What scales here
is coordination: each worker has a device of its own that takes a fixed time for every task, as a
GPU would, and sleeps through it (`--seconds`); on a few cores nothing else could scale. What a
round takes beyond its tasks is what its phases take. One verifier checks one task a round.
About five minutes on two cores.

    python benchmarks/scaling.py [--workers 1,2,4,8] [--tasks 16] [--seconds 2] [--rounds 2]
"""

import argparse
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import structlog

from coordinator import devnet as network
from coordinator.cast import Actor, Stage, make_actor, put_up_bonds
from coordinator.faucet import fund
from coordinator.job_file import JobFile, WindowsSection, units
from coordinator.post import post_job
from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import fleet_database, open_database
from protocol.fleet.attendance import Attendance
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.consumer import Consumer, Note, Rehearsal
from protocol.fleet.leases import Leases
from protocol.fleet.trials import Trials
from protocol.role.computer import StoreComputer
from protocol.role.connection import open_chain
from protocol.role.job_files import JobFiles
from protocol.role.pins import open_pins
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending, JobId
from protocol.rules.records import Stage as SealStage
from protocol.runtime.settings import Settings
from protocol.storage.cache import Cache
from protocol.storage.store import open_store
from tests.support.small_jobs import TEXTS, TRAINING

BLOCK_SECONDS = 0.5
WINDOW = 600
CHALLENGE_WINDOWS = {"gather": 16, "update_challenge": 5}
"""Blocks that every round waits; gatherers must get all results in the first of them."""
CHEAP = Decimal("0.01")
LOOK_SECONDS = 0.25
PATIENCE = 600.0


class Device:
    """A device of one worker: computes, one at a time in this process, and takes its time."""

    turn = threading.Lock()

    def __init__(self, computer: StoreComputer, seconds: float) -> None:
        self.computer = computer
        self.seconds = seconds

    def compute(self, wanted: Computation, note: Note) -> Computed:
        """The real answer, after the time that the simulated device needs."""
        with self.turn:
            found = self.computer.compute(wanted, note)
        time.sleep(0.0 if wanted.is_update else self.seconds)
        return found

    def rehearse(self, wanted: Computation) -> Rehearsal:
        """The same, for a trial."""
        with self.turn:
            found = self.computer.rehearse(wanted)
        return Rehearsal(found.seconds + self.seconds, found.peak)

    def forget_all_but(self, jobs: set[tuple[str, JobId]]) -> None:
        """Pass it on."""
        with self.turn:
            self.computer.forget_all_but(jobs)


class Market(Stage):
    """Roles that compute nothing themselves: their devices are threads of this process."""

    def environment(self, actor: Actor | None, home: Path) -> dict[str, str]:
        return super().environment(actor, home) | {"GRADPROOF_COMPUTE_HERE": "false"}

    def give_device(self, actor: Actor, seconds: float) -> None:
        """A device for one actor's roles."""
        settings = Settings(home=actor.home, ipfs_api=self.devnet.ipfs_api)
        store = open_store(settings.apis)
        engine = fleet_database(settings)

        def open_files() -> JobFiles:
            return JobFiles(store, Cache(settings.cache_path, settings.cache_bytes))

        computer = StoreComputer(open_files, actor.home / "fleet" / "results")
        consumer = Consumer(
            Leases(engine, settings.queue),
            Device(computer, seconds),
            actor.name,
            look_seconds=LOOK_SECONDS,
            attendance=Attendance(Trials(engine, settings.queue), actor.name, "simulated", "here"),
        )
        threading.Thread(target=consumer.run, name=actor.name, daemon=True).start()


@dataclass(frozen=True)
class Measured:
    """One job: seconds per round, and CPU seconds of the coordinator per task."""

    workers: int
    seconds: float
    coordinator: float

    def row(self, first: "Measured") -> str:
        """One line of the table."""
        return (
            f"{self.workers:>7}  {60 / self.seconds:>13.2f}  {self.seconds:>15.1f}  "
            f"{first.seconds / self.seconds:>7.2f}  {1000 * self.coordinator:>23.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a device takes for a task")
    args = parser.parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet, cache_logger_on_first_use=False)
    counts = [int(part) for part in args.workers.split(",")]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gradproof-scaling-")))
        net = network.start(root / "devnet", block_time=BLOCK_SECONDS)
        stack.callback(network.stop, root / "devnet")
        market = Market(root, net)
        stack.callback(market.stop)
        settings = Settings(
            home=root / "requester",
            rpc_url=net.rpc_url,
            ipfs_api=net.ipfs_api,
            deployment=Path(net.deployment),
        )
        names = ["coordinator", "verifier", *(f"worker-{i}" for i in range(max(counts)))]
        actors = {name: make_actor(root, name) for name in names}
        requester = make_actor(root, "requester")
        chain = open_chain(settings)
        put_up_bonds(chain, root, list(actors.values()))
        fund(chain, root, [(requester.address, units(Decimal(100)))])
        sender = TxSender(chain, requester.owner, open_database(root / "requester.sqlite"))
        for name in ("coordinator", "verifier"):
            market.give_device(actors[name], args.seconds)
        market.start(actors["coordinator"], "coordinator", "run")
        market.start(actors["verifier"], "verifier", "run", "--slots", "9")

        def play(workers: int) -> Measured:
            running = {role.name for role in market.running}
            for i in range(workers):
                if f"worker-{i}" not in running:
                    market.give_device(actors[f"worker-{i}"], args.seconds)
                    market.start(
                        actors[f"worker-{i}"], "worker", "run", "--slots", "1", "--no-claims"
                    )
            job = post(chain, settings, sender, actors["coordinator"], workers, args)
            return measure(chain, market, job, workers)

        print(f"{args.tasks} tasks of {args.seconds:.1f} s a round, {args.rounds} rounds")
        print("workers  rounds/minute  seconds/round  speed-up  coordinator ms CPU/task")
        measured = []
        for workers in sorted(counts):
            measured.append(play(workers))
            print(measured[-1].row(measured[0]), flush=True)


def post(
    chain: Chain,
    settings: Settings,
    sender: TxSender,
    coordinator: Actor,
    workers: int,
    args: argparse.Namespace,
) -> JobId:
    """A job whose rounds open when every worker has joined."""
    job_file = JobFile.model_validate(
        {
            "data": TEXTS,
            "training": {**TRAINING, "rounds": args.rounds, "tasks": args.tasks},
            "market": {
                "coordinator": coordinator.operator.address,
                "checks": 1,
                "min_workers": workers,
                "reward": CHEAP,
                "fee": CHEAP,
                "update_fee": CHEAP,
                "windows": dict.fromkeys(WindowsSection.model_fields, WINDOW) | CHALLENGE_WINDOWS,
            },
        }
    )
    with open_store(settings.apis) as store:
        return post_job(
            chain, sender, store, job_file, lambda _what, _done, _total: None, open_pins(settings)
        )


def measure(chain: Chain, market: Market, job: JobId, workers: int) -> Measured:
    """From the first round's opening to the job's end."""
    indexer = Indexer(chain, open_database(None))
    process = psutil.Process(
        next(role.process.pid for role in market.running if role.name == "coordinator")
    )

    def wait(happened: Callable[[JobHistory], bool]) -> JobHistory:
        until = time.monotonic() + PATIENCE
        while True:
            market.check()
            past = indexer.sync().jobs[job]
            if happened(past):
                return past
            assert time.monotonic() < until, f"job {job} with {workers} workers hangs"
            time.sleep(0.1)

    wait(lambda past: bool(past.rounds))
    began, used = time.monotonic(), sum(process.cpu_times()[:2])
    past = wait(lambda past: past.ending != Ending.NONE)
    seconds, used = time.monotonic() - began, sum(process.cpu_times()[:2]) - used
    assert past.ending == Ending.COMPLETED
    assert past.updates == past.terms.rounds, "a round without an update says nothing"
    sealed = sum(stage == SealStage.WORK for r in past.rounds for stage, _, _ in r.seals)
    assert sealed == past.terms.rounds * past.terms.tasks
    return Measured(workers, seconds / past.terms.rounds, used / sealed)


if __name__ == "__main__":
    main()
