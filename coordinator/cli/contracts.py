"""gradproof contracts: put a market on a chain, and see whether one is what it should be."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.present import emit
from coordinator.cli.wallet import password

app = typer.Typer(help="Deploy a market; verify one.", no_args_is_help=True, rich_markup_mode=None)
File = Annotated[Path, typer.Argument(help="The deployment file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def plan(deployment_file: File, json: Json = False) -> None:
    """Where the contracts of a deployment file will lie, on any chain; asks no chain."""
    from coordinator.deployment_file import read_deployment_file
    from protocol.chain.plan import plan_market

    file = read_deployment_file(deployment_file)
    emit(dict(plan_market(file.token, file.config, file.salt).addresses), as_json=json)


@app.command()
def deploy(
    deployment_file: File,
    wallet: Annotated[str, typer.Option(help="The wallet that pays the gas.")] = "deployer",
    book: Annotated[
        Path | None, typer.Option(help="The address book to write; default: the configured one.")
    ] = None,
    install_factory: Annotated[
        bool, typer.Option(help="Bring the CREATE2 factory to a chain that lacks it.")
    ] = False,
    json: Json = False,
) -> None:
    """Deploy a market, or finish a deployment that was cut short; write its address book."""
    from coordinator.contracts import deploy_market
    from coordinator.deployment_file import read_deployment_file
    from protocol.chain.wallet import unlock
    from protocol.runtime.start import start_process

    file = read_deployment_file(deployment_file)
    settings = start_process()
    account = unlock(settings.wallet_path(wallet), password())

    def progress(name: str, address: str, new: bool) -> None:
        sys.stderr.write(f"{'created' if new else 'is here':<8} {name:<18} {address}\n")

    path = book or settings.deployment_path
    made = deploy_market(
        settings, file, account, path, bring_factory=install_factory, progress=progress
    )
    fields = {"market": made.market, "vault": made.vault, "block": made.block, "book": str(path)}
    emit(fields, as_json=json)


@app.command()
def verify(json: Json = False) -> None:
    """Compare the market of the address book with the audited contracts, byte for byte."""
    from coordinator.contracts import examine
    from protocol.runtime.start import start_process

    examination = examine(start_process())
    emit(examination.fields(), as_json=json)
    if examination.error is not None:
        raise examination.error


@app.command()
def sources(
    out: Annotated[Path, typer.Option(help="Folder for the files.")], json: Json = False
) -> None:
    """Write what block explorers ask for to show the market's source code; asks no chain."""
    from protocol.chain.deployment import Deployment
    from protocol.chain.explorers import write_sources
    from protocol.runtime.start import start_process

    paths = write_sources(Deployment.read(start_process().deployment_path), out)
    emit({"written": [str(path) for path in paths]}, as_json=json)
