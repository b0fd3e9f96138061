"""Deploying a market, and examining one: what `gradproof contracts` does."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from coordinator.deployment_file import DeploymentFile
from protocol.chain.audited import (
    CodeReport,
    check_deployment,
    code_reader,
    inspect_code,
)
from protocol.chain.client import connect, retrying
from protocol.chain.create2 import install_factory, require_factory
from protocol.chain.deploy import Progress, deploy
from protocol.chain.deployment import Deployment
from protocol.chain.endpoints import shown
from protocol.chain.errors import BadAddressBook, ChainError, FactoryMissing
from protocol.chain.plan import plan_market
from protocol.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found at every address of a market; `error` is why it must not be used, if so."""

    book: Deployment
    reports: tuple[CodeReport, ...]
    error: ChainError | None

    def fields(self) -> dict[str, Any]:
        """For `emit`."""
        return {
            "verdict": "audited" if self.error is None else "NOT the audited market",
            "chain id": self.book.chain_id,
            "token": self.book.token,
            "contracts": [
                {
                    "contract": r.name,
                    "address": r.address,
                    "expected": "0x" + r.expected.hex(),
                    "found": None if r.found is None else "0x" + r.found.hex(),
                    "verdict": "ok" if r.ok else "DIFFERENT",
                }
                for r in self.reports
            ],
        }


def deploy_market(
    settings: Settings,
    file: DeploymentFile,
    deployer: LocalAccount,
    path: Path,
    *,
    bring_factory: bool,
    progress: Progress,
) -> Deployment:
    """Deploy what `file` describes, or finish deploying it, and write its address book to `path`.

    Raises BadAddressBook where `path` is another market's book, FactoryMissing, ContractRejected,
    InsufficientFunds, TransactionFailed, ChainDown.
    """
    web3 = connect(settings.rpc_url, settings.chain_id)
    planned = plan_market(file.token, file.config, file.salt).market
    if path.exists():
        old = Deployment.read(path)
        if (old.chain_id, old.market) != (int(web3.eth.chain_id), planned):
            raise BadAddressBook(
                f"{path} exists already",
                why=f"It is the book of the market {old.market} on chain {old.chain_id}.",
                fix="Name another file with --book.",
            )

    def run() -> Deployment:
        try:
            require_factory(web3)
        except FactoryMissing:
            if not bring_factory:
                raise
            install_factory(web3, deployer)
        return deploy(web3, deployer, file.config, file.token, salt=file.salt, progress=progress)

    # Whatever was sent before the connection broke is found again.
    book = retrying(shown(settings.rpc_url), run, time.sleep)
    book.write(path)
    return book


def examine(settings: Settings) -> Examination:
    """Compare the configured market with the audited contracts; raises ChainError on a bad book."""
    book = Deployment.read(settings.deployment_path)
    web3 = connect(settings.rpc_url, book.chain_id)
    plan = plan_market(book.token, book.config, book.salt)

    def run() -> Examination:
        reports = tuple(inspect_code(plan, book, code_reader(web3)))
        try:
            check_deployment(web3, book)
        except ChainError as error:
            return Examination(book, reports, error)
        return Examination(book, reports, None)

    return retrying(shown(settings.rpc_url), run, time.sleep)
