"""Printing what a worker earned: one line per task, then what it comes to."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from protocol.chain.indexer import Indexer
from protocol.database.opening import open_database
from protocol.role.connection import open_chain
from protocol.rules.amounts import whole
from protocol.runtime.settings import Settings
from worker.earnings import Earning, earnings


def print_earnings(settings: Settings, provider: str, job: int | None, *, as_json: bool) -> None:
    """Read the chain afresh and print; `provider` is the configured one where it is empty.

    Raises SettingsError for no usable provider, ChainError.
    """
    if provider:
        settings = settings.model_copy(update={"provider": provider})
    owner = settings.provider_address()
    market = Indexer(open_chain(settings), open_database(None)).sync()
    found = [e for e in earnings(market, owner) if job is None or e.job == job]
    if as_json:
        sys.stdout.write(json.dumps(_document(owner, found), indent=2) + "\n")
    else:
        _show(owner, found, Console())


def _document(owner: str, found: Sequence[Earning]) -> dict[str, object]:
    """Amounts as strings of smallest units, which JSON readers would round as numbers."""
    rows = [{**asdict(e), "paid": str(e.paid), "lost": str(e.lost)} for e in found]
    paid, lost = _sums(found)
    return {"provider": owner, "paid": str(paid), "lost": str(lost), "tasks": rows}


def _show(owner: str, found: Sequence[Earning], console: Console) -> None:
    table = Table(title=f"earnings of {owner}", box=None, title_justify="left")
    for name in ("job", "round", "task"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for name in ("paid", "lost"):
        table.add_column(name, justify="right")
    table.add_column("transaction", overflow="fold")
    table.add_column("why", overflow="fold")
    for e in found:
        place = (str(e.job), str(e.round), str(e.task))
        table.add_row(*place, e.verdict, whole(e.paid), whole(e.lost), e.transaction, e.why)
    console.print(table)
    paid, lost = _sums(found)
    console.print(f"{len(found)} tasks, {whole(paid)} tokens paid, {whole(lost)} lost")


def _sums(found: Sequence[Earning]) -> tuple[int, int]:
    return sum(e.paid for e in found), sum(e.lost for e in found)
