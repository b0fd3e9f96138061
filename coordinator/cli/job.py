"""gradproof job: post, look, follow, take home, stop."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.present import emit
from coordinator.cli.wallet import password

if TYPE_CHECKING:
    from coordinator.watch import JobReader

app = typer.Typer(help="Have a model trained.", no_args_is_help=True, rich_markup_mode=None)
Job = Annotated[int, typer.Argument(help="Number of the job.")]
Wallet = Annotated[str, typer.Option(help="The requester's wallet.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _reader(job: int, *, losses: bool) -> "JobReader":
    from coordinator.watch import JobReader
    from protocol.role.connection import open_chain
    from protocol.role.job_files import JobFiles
    from protocol.rules.records import JobId
    from protocol.runtime.start import start_process
    from protocol.storage.cache import Cache
    from protocol.storage.store import open_store

    settings = start_process()
    chain = open_chain(settings)
    files = None
    if losses:
        store = open_store(settings.apis, settings.gateways)
        files = JobFiles(store, Cache(settings.cache_path, settings.cache_bytes))
    return JobReader(chain, files, JobId(job))


@app.command()
def post(
    job_file: Annotated[Path, typer.Argument(help="The job file (TOML).")],
    wallet: Wallet = "requester",
    json: Json = False,
) -> None:
    """Author a job, publish its files, put its budget into escrow."""
    from rich.console import Console
    from rich.progress import Progress

    from coordinator.job_file import read_job_file
    from coordinator.post import post_job
    from coordinator.wallets import Owner
    from protocol.role.pins import open_pins
    from protocol.runtime.start import start_process
    from protocol.storage.store import open_store

    parsed = read_job_file(job_file)
    parsed.terms()
    settings = start_process()
    owner = Owner.open(wallet, password())
    bars = Progress(transient=True, console=Console(stderr=True))
    with open_store(settings.apis, settings.gateways) as store, bars:
        tasks = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        job = post_job(owner.chain, owner.sender, store, parsed, progress, open_pins(settings))
    emit({"job": job}, as_json=json)


@app.command()
def show(
    job: Annotated[int | None, typer.Argument(help="Number; without one, all jobs.")] = None,
    json: Json = False,
) -> None:
    """A job's state, rounds and money; without a number, a list of all jobs."""
    from coordinator.report import job_fields, status_of
    from protocol.rules.records import JobId

    reader = _reader(0 if job is None else job, losses=job is not None)
    if job is not None:
        past = reader.read()
        emit(job_fields(past, reader.losses), as_json=json)
        return
    jobs = reader.indexer.sync().jobs
    rows = [{"job": n, "status": status_of(jobs[JobId(n)])} for n in sorted(jobs)]
    emit({"jobs": rows}, as_json=json)


@app.command()
def watch(job: Job, json: Json = False) -> None:
    """Follow a job live until it ends; with --json, one object per change."""
    from rich.console import Console

    from coordinator.report import job_fields
    from coordinator.watch import watch as follow
    from protocol.rules.records import Ending

    reader = _reader(job, losses=True)
    if not json:
        follow(reader, Console())
        return
    last: object = None
    while True:
        past = reader.read()
        fields = job_fields(past, reader.losses)
        if fields != last:
            emit(fields, as_json=True)
            last = fields
        if past.ending != Ending.NONE:
            return
        time.sleep(0.5)


@app.command()
def stop(job: Job, wallet: Wallet = "requester") -> None:
    """Open no further round; what is not spent comes back."""
    from coordinator.wallets import Owner
    from protocol.chain.client import Call

    owner = Owner.open(wallet, password())
    owner.sender.send(f"{job}/stop", Call(owner.chain.market, "stop", (job,)))
    emit({"stopped": job}, as_json=False)


@app.command()
def export(
    job: Job,
    out: Annotated[Path, typer.Option(help="New folder for the model.")],
    json: Json = False,
) -> None:
    """Write the newest final model as a folder that transformers loads."""
    from coordinator.take_home import export_job

    reader = _reader(job, losses=True)
    past = reader.read()
    assert reader.files is not None
    export_job(reader.files, past, out)
    fields = {"job": job, "updates": past.updates, "root": past.state_root.hex(), "out": str(out)}
    emit(fields, as_json=json)


@app.command()
def forget(
    job: Job,
    force: Annotated[
        bool, typer.Option("--force", help="Without asking the chain whether the job is over.")
    ] = False,
    json: Json = False,
) -> None:
    """Keep a job's data and states no longer; garbage collection may then remove them."""
    from coordinator.given import GivenError
    from coordinator.local_store import open_local_store
    from protocol.role.pins import open_pins
    from protocol.rules.records import Ending, JobId
    from protocol.runtime.start import start_process

    settings = start_process()
    if not force and _reader(job, losses=False).read().ending == Ending.NONE:
        raise GivenError(
            f"job {job} still runs",
            why="Workers and verifiers fetch its data from this store.",
            fix=f"Wait for its end, or end it with `gradproof job stop {job}`.",
        )
    with open_local_store(settings) as store:
        gone = open_pins(settings).forget(JobId(job), store)
    emit({"forgotten": job, "files unpinned": gone}, as_json=json)
