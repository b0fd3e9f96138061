"""The whole story on one machine: a model trained by strangers, one of whom cheats by one bit.

Real chain, real content store, seven separate processes with keys of their own. It ends with the
audit, with text from the trained model, and with ten lines that say what happened.
"""

import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from coordinator import devnet as network
from coordinator.cast import Actor, Running, Stage, make_actor, put_up_bonds
from coordinator.faucet import fund
from coordinator.job_file import JobFile, MarketSection, units
from coordinator.post import post_job
from coordinator.report import all_lines, money_of
from coordinator.watch import JobReader, watch
from protocol.chain.client import Chain
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.fleet.device import torch_device
from protocol.role.connection import open_chain
from protocol.role.job_files import JobFiles
from protocol.role.pins import open_pins
from protocol.rules.amounts import whole
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory
from protocol.rules.records import JobId, Reason, TaskResult
from protocol.rules.records import Stage as SealStage
from protocol.runtime.settings import Settings
from protocol.storage.cache import Cache
from protocol.storage.store import open_store
from protocol.training.export import export_model, generate

TASKS, CHECKS, WORKER_SLOTS, VERIFIER_SLOTS = 6, 6, 2, 4
"""Every task is checked, so that the cheat is caught in its first round, whatever chance brings."""
WIDTH, CORPUS_BYTES = 144, 2 << 20
"""A GPT-2 of about one million parameters, two megabytes of text."""
BUDGET = units(Decimal(1000))
PROMPT = "def "
console = Console()


def run_demo(rounds: int, out: Path | None, keep: Path | None, worker_device: str = "cpu") -> int:
    """Play the demo; returns the audit's exit code. Everything it started ends with it."""
    torch_device(worker_device)  # said before anything is started
    signal.signal(signal.SIGTERM, _interrupt)
    began = time.monotonic()
    with ExitStack() as stack:
        root = _folder(stack, keep)
        console.print("starting a chain, a content store and a fresh market ...")
        net = network.start(root / "devnet")
        stack.callback(network.stop, root / "devnet")
        stage = Stage(root, net, worker_device)
        stack.callback(stage.stop)
        stack.callback(_ignore_interrupts)
        settings = Settings(
            home=root / "requester",
            rpc_url=net.rpc_url,
            ipfs_api=net.ipfs_api,
            deployment=Path(net.deployment),
        )
        chain = open_chain(settings)
        actors = _raise_curtain(chain, root, stage)
        job = _post(chain, settings, actors["coordinator"], root, rounds)
        stage.start(actors["coordinator"], "coordinator", "run")
        past, losses = _watch(chain, settings, job, stage)
        stage.stop()
        code = _audit(stage, root, job)
        text = _take_home(past, settings, out or root / "model")
        _curtain_call(past, losses, actors, stage.running, code, text)
    console.print(f"({time.monotonic() - began:.0f} s in all)")
    return code


def _folder(stack: ExitStack, keep: Path | None) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gradproof-demo-")))
    if keep.exists() and any(keep.iterdir()):
        raise GradproofError(
            f"{keep} is not empty", why="The demo never overwrites.", fix="Name a new folder."
        )
    keep.mkdir(parents=True, exist_ok=True)
    return keep.resolve()


def _raise_curtain(chain: Chain, root: Path, stage: Stage) -> dict[str, Actor]:
    """Keys, bonds and processes for everybody; the coordinator is started with its job."""
    console.print("seven providers put up bonds; three workers and three verifiers start ...")
    names = ["coordinator"]
    names += [f"{role}-{i}" for role in ("worker", "verifier") for i in (1, 2, 3)]
    actors = {name: make_actor(root, name) for name in names}
    put_up_bonds(chain, root, list(actors.values()))
    for i in (1, 2, 3):
        stage.start(actors[f"verifier-{i}"], "verifier", "run", "--slots", str(VERIFIER_SLOTS))
        cheat = ["--dishonest", "one-bit"] if i == 3 else []
        stage.start(actors[f"worker-{i}"], "worker", "run", "--slots", str(WORKER_SLOTS), *cheat)
    return actors


def _post(chain: Chain, settings: Settings, coordinator: Actor, root: Path, rounds: int) -> JobId:
    """The requester's part: author the job from the standard library's text and pay for it."""
    requester = make_actor(root, "requester")
    fund(chain, root, [(requester.address, BUDGET)])
    library = sysconfig.get_paths()["stdlib"]
    console.print(f"the requester makes a job of the text in {library} ...")
    job_file = JobFile(
        data=Path(library),
        training={"rounds": rounds, "tasks": TASKS, "width": WIDTH, "most_bytes": CORPUS_BYTES},
        market=MarketSection(
            coordinator=coordinator.operator.address,
            checks=CHECKS,
            min_workers=TASKS - WORKER_SLOTS,
            min_verifiers=3 * VERIFIER_SLOTS,
        ),
    )
    sender = TxSender(chain, requester.owner, open_database(settings.home / "chain.sqlite"))
    with open_store(settings.apis) as store:
        job = post_job(
            chain, sender, store, job_file, lambda _what, _done, _total: None, open_pins(settings)
        )
    terms = job_file.terms()
    console.print(
        f"job {job}: {rounds} rounds of {TASKS} tasks, {CHECKS} checked, "
        f"bond {whole(terms.bond)} per seal"
    )
    return job


def _watch(
    chain: Chain, settings: Settings, job: JobId, stage: Stage
) -> tuple[JobHistory, dict[int, float]]:
    with open_store(settings.apis) as store:
        files = JobFiles(store, Cache(settings.cache_path, settings.cache_bytes))
        reader = JobReader(chain, files, job)
        past = watch(reader, console, healthy=stage.check)
        return past, reader.losses


def _audit(stage: Stage, root: Path, job: JobId) -> int:
    """A stranger's audit: a new process with an empty home and no key."""
    command = [sys.executable, "-m", "coordinator.cli.main", "audit", str(job)]
    environment = stage.environment(None, root / "auditor")
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 -- ours


def _take_home(past: JobHistory, settings: Settings, out: Path) -> str:
    """Export the model and let it write 200 characters."""
    with open_store(settings.apis) as store:
        files = JobFiles(store, Cache(settings.cache_path, settings.cache_bytes))
        state = files.state(past, past.state_root, past.state_cid)
        if out.exists():
            shutil.rmtree(out)
        export_model(files.manifest(past), state, out, files.tokenizer(past))
    return generate(out, PROMPT, 200)


def _curtain_call(
    past: JobHistory,
    losses: dict[int, float],
    actors: dict[str, Actor],
    running: list[Running],
    code: int,
    text: str,
) -> None:
    usage = Table(title="processes", box=None, title_justify="left")
    for column in ("role", "CPU s", "peak MiB"):
        usage.add_column(column, justify="left" if column == "role" else "right")
    for role in running:
        usage.add_row(role.name, f"{role.cpu_seconds:.1f}", f"{role.peak_mib:.0f}")
    console.print(usage)
    console.print(f"\n200 characters by the trained model:\n{text}\n", markup=False)
    for line in summary(past, losses, {a.address: a.name for a in actors.values()}, code):
        console.print(line, markup=False, soft_wrap=True)


def summary(
    past: JobHistory, losses: dict[int, float], names: dict[str, str], code: int
) -> list[str]:
    """What happened, in ten lines."""
    results = [result for r in past.rounds for result in r.results.values()]
    checks = sum(len([k for k in r.seals if k[0] == SealStage.CHECK]) for r in past.rounds)
    money = money_of(past)
    caught = {
        line.account
        for line in all_lines(past)
        if line.kind == "slash" and line.reason == Reason.WRONG
    }
    lost = {names[a]: whole(money.slashed[a]) for a in caught}
    earnings = sorted((names[account], whole(paid)) for account, paid in money.paid.items())
    earned = ", ".join(f"{name} {paid}" for name, paid in earnings)
    first, last = losses.get(0), losses.get(past.updates)
    ending = past.ending.name.lower()
    same = "the same in a plain single-process run" if code == 0 else "see the audit"
    caught_names = ", ".join(f"{name} (one bit flipped)" for name in sorted(lost)) or "nobody"
    losers = ", ".join(f"{name} lost {amount} of its bond" for name, amount in lost.items())
    return [
        f"rounds     {len(past.rounds)}, {past.updates} verified updates, job {ending}",
        f"loss       {_loss(first)} -> {_loss(last)} (validation, part of the verified state)",
        f"tasks      {results.count(TaskResult.INCLUDED)} included, "
        f"{results.count(TaskResult.REJECTED)} rejected",
        f"checks     {checks} tasks recomputed by verifiers drawn after the seal",
        f"caught     {caught_names}",
        f"cost       {losers or 'nothing'}",
        f"earned     {earned}",
        f"money      escrow {whole(past.escrow)}, refunded {whole(money.refunded)}, "
        f"burnt {whole(money.burnt)}",
        f"model      {past.state_root.hex()}, {same}",
        f"audit      {'CONSISTENT' if code == 0 else 'INCONSISTENT'}",
    ]


def _loss(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"


def _ignore_interrupts() -> None:
    """From here on everything is being ended; a second Ctrl-C must not leave half of it behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
