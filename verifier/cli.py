"""gradproof verifier: recomputes what it is drawn for. gradproof audit: recomputes everything."""

from typing import Annotated

import typer

app = typer.Typer(help="Check drawn work for pay.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Keep `run` a subcommand."""


@app.command()
def run(
    slots: Annotated[int, typer.Option(help="Slots to enrol.", min=1)] = 1,
    largest_bond: Annotated[
        int, typer.Option(help="Ignore jobs whose bond is larger (token units).")
    ] = 2**96 - 1,
    spot_checks: Annotated[
        float,
        typer.Option(help="Share of unchecked work to recompute, and challenge.", min=0.0, max=1.0),
    ] = 0.0,
) -> None:
    """Run until stopped; the operator's keystore is GRADPROOF_OPERATOR."""
    from protocol.runtime.start import start_process
    from verifier.draw import Limits
    from verifier.service import run_verifier

    run_verifier(start_process(), Limits(slots, largest_bond, spot_checks))


def audit(
    job: Annotated[int, typer.Argument(help="Number of the job.")],
    sample: Annotated[
        float, typer.Option(help="Share of the tasks to recompute.", min=0.0, max=1.0)
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Re-derive a job from chain and content store alone; exit code 1 at the first difference."""
    from protocol.runtime.start import start_process
    from verifier.audit_report import print_audit

    raise typer.Exit(print_audit(start_process(), job, sample, as_json=json))
