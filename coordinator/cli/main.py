"""The command `gradproof`: composes what each role brings, and turns errors into sentences.

`--help` must stay instant: nothing here, nor in any `cli.py`, imports torch or web3 before a
command runs.
"""

import sys

import typer

from coordinator.cli import contracts, devnet, doctor, job, store, wallet
from coordinator.cli import role as coordinator_role
from coordinator.cli.present import complain
from protocol.rules.errors import GradproofError
from verifier import cli as verifier_cli
from worker import cli as worker_cli

app = typer.Typer(
    name="gradproof",
    help="Have a model trained by machines you do not trust, and check every bit of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(devnet.app, name="devnet")
app.add_typer(contracts.app, name="contracts")
app.add_typer(wallet.app, name="wallet")
app.add_typer(job.app, name="job")
app.add_typer(store.app, name="store")
app.add_typer(coordinator_role.app, name="coordinator")
app.add_typer(worker_cli.app, name="worker")
app.add_typer(verifier_cli.app, name="verifier")
app.command("audit")(verifier_cli.audit)
app.command("demo")(devnet.demo)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line; what a user can mend ends in three lines and exit code 2."""
    try:
        app()
    except GradproofError as error:
        complain(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
