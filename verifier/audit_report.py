"""Printing an audit: progress while it runs, then a table that ends in one word."""

import json
import random
import sys
import time

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from protocol.fleet.device import device_name, torch_device
from protocol.role.connection import open_chain
from protocol.role.job_files import JobFiles
from protocol.rules.records import JobId
from protocol.runtime.settings import Settings
from protocol.storage.cache import Cache
from protocol.storage.store import open_store
from verifier.audit import Audit, audit_job


def print_audit(settings: Settings, job: int, sample: float, *, as_json: bool) -> int:
    """Audit a job and print it; returns the exit code, 0 for CONSISTENT and 1 otherwise."""
    began = time.monotonic()
    audit = run_audit(settings, job, sample)
    seconds = time.monotonic() - began
    if as_json:
        sys.stdout.write(json.dumps(audit_fields(audit, seconds), indent=2) + "\n")
    else:
        show(audit, seconds, Console())
    return 0 if audit.consistent else 1


def run_audit(settings: Settings, job: int, sample: float = 1.0) -> Audit:
    """Audit with a progress bar; `sample` is the share of tasks to recompute."""
    chance = random.SystemRandom()
    chain = open_chain(settings)
    with open_store(settings.apis, settings.gateways) as store, _bars() as bars:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        files = JobFiles(store, Cache(settings.cache_path, settings.cache_bytes))
        return audit_job(
            chain,
            files,
            JobId(job),
            lambda _round, _task: chance.random() < sample,
            progress,
            torch_device(device_name(settings.device)),
        )


def audit_fields(audit: Audit, seconds: float) -> dict[str, object]:
    """The audit as one JSON object."""
    difference = audit.difference
    return {
        "job": audit.job,
        "verdict": "CONSISTENT" if audit.consistent else "INCONSISTENT",
        "rounds": audit.rounds,
        **audit.counts,
        "final state root": audit.final_root.hex(),
        "seconds": round(seconds, 1),
        "first difference": None
        if difference is None
        else {
            "where": difference.where,
            "claimed": difference.claimed,
            "derived": difference.derived,
        },
    }


def show(audit: Audit, seconds: float, console: Console) -> None:
    """The table."""
    table = Table(title=f"audit of job {audit.job}", box=None, title_justify="left")
    table.add_column("derived again")
    table.add_column("count", justify="right")
    table.add_row("rounds", str(audit.rounds))
    for name, count in audit.counts.items():
        table.add_row(name, str(count))
    console.print(table)
    console.print(f"final state root {audit.final_root.hex()}  ({seconds:.1f} s)", soft_wrap=True)
    if audit.difference is None:
        console.print("[bold green]CONSISTENT[/bold green]")
        return
    console.print(f"first difference: {audit.difference.where}", soft_wrap=True)
    console.print(f"  claimed: {audit.difference.claimed}", soft_wrap=True)
    console.print(f"  derived: {audit.difference.derived}", soft_wrap=True)
    console.print("[bold red]INCONSISTENT[/bold red]")


def _bars() -> Progress:
    return Progress(transient=True, console=Console(stderr=True))
