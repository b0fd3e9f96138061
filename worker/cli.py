"""gradproof worker: computes tasks for pay."""

from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(help="Compute tasks for pay.", no_args_is_help=True, rich_markup_mode=None)


class Dishonest(StrEnum):
    """Ways of cheating, for tests and demonstrations on a development chain."""

    ZERO = "zero"
    STALE = "stale"
    SCALED = "scaled"
    ONE_BIT = "one-bit"


@app.callback()
def group() -> None:
    """Keep `run` a subcommand."""


@app.command()
def compute(
    queue: Annotated[
        str | None, typer.Option(help="Queue to compute for; else GRADPROOF_QUEUE.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device to compute on: cpu, cpu:NAME or cuda:N; else GRADPROOF_DEVICE."),
    ] = None,
) -> None:
    """Compute for the roles of one operator, until stopped. Needs no key and no chain."""
    import os

    from protocol.role.computing import run_consumer
    from protocol.runtime.start import start_process

    if queue is not None:
        os.environ["GRADPROOF_QUEUE"] = queue  # held to the same rules as the variable
    settings = start_process()
    run_consumer(settings, device or settings.device)


@app.command()
def run(
    slots: Annotated[
        int | None,
        typer.Option(help="At most so many slots in a job; else as many as can be served.", min=1),
    ] = None,
    smallest_reward: Annotated[
        int, typer.Option(help="Ignore jobs that pay less per task (token units).")
    ] = 1,
    claims: Annotated[
        bool, typer.Option(help="Take over tasks that other slots leave unserved.")
    ] = True,
    dishonest: Annotated[
        Dishonest | None,
        typer.Option(help="Cheat this way. Costs the bond; refused off development chains."),
    ] = None,
) -> None:
    """Run until stopped; the operator's keystore is GRADPROOF_OPERATOR."""
    from protocol.runtime.start import start_process
    from worker.claim import Limits
    from worker.service import run_worker

    run_worker(start_process(), Limits(slots, smallest_reward, claims), dishonest)


@app.command()
def capacity(
    slots: Annotated[int | None, typer.Option(help="As for `run`.", min=1)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What this operator's consumers are and can do, and how many slots each job would get."""
    from protocol.runtime.start import start_process
    from worker.capacity_report import print_capacity

    print_capacity(start_process(), slots, as_json=json)


@app.command()
def earnings(
    provider: Annotated[
        str, typer.Option(help="Owner to ask about; GRADPROOF_PROVIDER by default.")
    ] = "",
    job: Annotated[int | None, typer.Option(help="This job alone.", min=1)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every task that was the owner's to compute: verdict, pay, transaction, and why."""
    from protocol.runtime.start import start_process
    from worker.earnings_report import print_earnings

    print_earnings(start_process(), provider, job, as_json=json)
