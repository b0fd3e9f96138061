"""gradproof devnet: a development network on this machine. gradproof demo: the whole story."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.present import emit

app = typer.Typer(
    help="A development network on this machine.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def up(
    block_time: Annotated[float, typer.Option(help="Seconds per block.", min=0.1)] = 1.0,
) -> None:
    """Start anvil, a content store and a fresh market; they run until `devnet down`."""
    from coordinator.devnet import start
    from protocol.runtime.start import start_process

    home = start_process().home
    devnet = start(home, block_time=block_time)
    emit(
        {
            "chain": devnet.rpc_url,
            "content store": devnet.ipfs_api,
            "address book": devnet.deployment,
            "ends with": f"GRADPROOF_HOME={home} gradproof devnet down",
        },
        as_json=False,
    )


@app.command()
def down() -> None:
    """End the development network of this home."""
    from coordinator.devnet import stop
    from protocol.runtime.start import start_process

    home = start_process().home
    ended = stop(home)
    emit({"ended" if ended else "nothing to end": str(home)}, as_json=False)


@app.command()
def fund(name: str, tokens: Annotated[str, typer.Option(help="Whole tokens.")] = "10000") -> None:
    """Give the wallet NAME ether for gas and some tokens of the development chain."""
    from coordinator.faucet import fund as give
    from coordinator.given import amount_in_units
    from protocol.chain.wallet import address_of
    from protocol.role.connection import open_chain
    from protocol.runtime.start import start_process

    settings = start_process()
    address = address_of(settings.wallet_path(name))
    amount = amount_in_units(tokens)
    give(open_chain(settings), settings.home, [(address, amount)])
    emit({"funded": address}, as_json=False)


def demo(
    rounds: Annotated[int, typer.Option(help="Rounds to train.", min=1)] = 6,
    out: Annotated[Path | None, typer.Option(help="Keep the trained model in this folder.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep logs, wallets and store in this new folder.")
    ] = None,
    worker_device: Annotated[
        str, typer.Option(help="What workers compute on, cuda:0 say; verifiers use processors.")
    ] = "cpu",
) -> None:
    """A whole market on this machine: train, catch a cheat, pay, audit, generate."""
    from coordinator.demo import run_demo
    from protocol.runtime.start import start_process

    start_process()
    raise typer.Exit(run_demo(rounds, out, keep, worker_device))
