"""gradproof wallet: keys, balances, and the owner's money in the vault."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.present import emit

app = typer.Typer(
    help="Keys, balances, and the owner's bond.", no_args_is_help=True, rich_markup_mode=None
)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def password() -> str:
    """The keystores' password: the configured one, or what is typed."""
    from protocol.runtime.start import start_process

    given = start_process().password.get_secret_value()
    return given or str(typer.prompt("Password", hide_input=True))


@app.command()
def new(name: str) -> None:
    """Make a key; its keystore is encrypted with GRADPROOF_PASSWORD or what you type."""
    from protocol.chain.wallet import create
    from protocol.runtime.start import start_process

    path = start_process().wallet_path(name)
    address = create(path, password())
    emit({"address": address, "keystore": str(path)}, as_json=False)


@app.command()
def show(name: str, json: Json = False) -> None:
    """A wallet's address and money."""
    from coordinator.wallets import balances
    from protocol.runtime.start import start_process

    emit(balances(start_process(), name), as_json=json)


@app.command()
def deposit(name: str, amount: str) -> None:
    """Put tokens of the owner NAME into the vault as free bond."""
    from coordinator.given import amount_in_units
    from coordinator.wallets import Owner

    tokens = amount_in_units(amount)
    Owner.open(name, password()).deposit(tokens)


@app.command()
def authorise(name: str, operator: str, limit: str) -> None:
    """Let the key OPERATOR lock at most LIMIT tokens of the owner NAME at a time; 0 revokes."""
    from coordinator.given import amount_in_units, checked_address
    from coordinator.wallets import Owner

    key, tokens = checked_address(operator), amount_in_units(limit)
    Owner.open(name, password()).authorise(key, tokens)


@app.command("sign-authorisation")
def sign_authorisation(
    name: str,
    operator: str,
    limit: str,
    out: Annotated[Path, typer.Option(help="File for the signed authorisation.")],
    hours: Annotated[int, typer.Option(help="How long it is good for.", min=1)] = 24,
    nonce: Annotated[
        int | None, typer.Option(help="Its nonce; then no chain is asked.", min=0)
    ] = None,
) -> None:
    """Sign what `authorise` would send, so that anybody can send it; NAME needs no ether."""
    from coordinator.given import amount_in_units, checked_address
    from coordinator.wallets import sign_for_operator
    from protocol.runtime.start import start_process

    key, tokens = checked_address(operator), amount_in_units(limit)
    bounds = {"seconds": 3600 * hours} | ({} if nonce is None else {"nonce": nonce})
    signed = sign_for_operator(start_process(), name, password(), key, tokens, **bounds)
    signed.write(out)
    emit({"nonce": signed.nonce, "deadline": signed.deadline, "file": str(out)}, as_json=False)


@app.command("submit-authorisation")
def submit_authorisation(name: str, file: Path) -> None:
    """Send an authorisation that an owner signed; the wallet NAME pays the gas."""
    from coordinator.wallets import Owner
    from protocol.chain.authorisation import Authorisation
    from protocol.chain.deployment import Deployment
    from protocol.runtime.start import start_process

    authorisation = Authorisation.read(file, Deployment.read(start_process().deployment_path))
    Owner.open(name, password()).submit(authorisation)


@app.command("cancel-authorisation")
def cancel_authorisation(name: str, operator: str) -> None:
    """Void what the owner NAME signed for OPERATOR and nobody has sent; the limit stays."""
    from coordinator.given import checked_address
    from coordinator.wallets import Owner

    Owner.open(name, password()).cancel_authorisation(checked_address(operator))


@app.command()
def withdraw(name: str, amount: str, to: str) -> None:
    """Take free bond of the owner NAME out to the address TO."""
    from coordinator.given import amount_in_units, checked_address
    from coordinator.wallets import Owner

    tokens, receiver = amount_in_units(amount), checked_address(to)
    Owner.open(name, password()).withdraw(tokens, receiver)


@app.command()
def collect(name: str, to: str) -> None:
    """Take everything that NAME has earned, or got back, out to the address TO."""
    from coordinator.given import checked_address
    from coordinator.wallets import Owner

    receiver = checked_address(to)
    Owner.open(name, password()).collect(receiver)


@app.command("import")
def import_(name: str, key_file: Path) -> None:
    """Encrypt a raw key (64 hex digits in KEY_FILE) into a keystore."""
    from protocol.chain.errors import WalletError
    from protocol.chain.wallet import store
    from protocol.runtime.start import start_process

    try:
        key = bytes.fromhex(key_file.read_text().strip().removeprefix("0x"))
    except (OSError, ValueError) as error:
        raise WalletError(
            f"{key_file} holds no key", why=str(error), fix="Write 64 hex digits into it."
        ) from None
    if len(key) != 32 or not 0 < int.from_bytes(key, "big") < CURVE_ORDER:
        raise WalletError(
            f"{key_file} holds no key",
            why="A key is 32 bytes, and a number below the order of secp256k1.",
            fix="Export the key again as 64 hex digits.",
        )
    emit({"address": store(start_process().wallet_path(name), key, password())}, as_json=False)
