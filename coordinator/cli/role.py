"""gradproof coordinator: accepts the job that names it, moves rounds on, proposes updates."""

import typer

app = typer.Typer(help="Propose the updates of a job.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Keep `run` a subcommand."""


@app.command()
def run() -> None:
    """Run until stopped; the operator's keystore is GRADPROOF_OPERATOR."""
    from coordinator.service import run_coordinator
    from protocol.runtime.start import start_process

    run_coordinator(start_process())
