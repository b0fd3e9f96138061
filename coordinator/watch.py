"""Following a job live: the chain read again at every block, drawn as a small table."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coordinator.report import money_of, round_fields, status_of
from protocol.chain.client import Chain
from protocol.chain.errors import ChainError
from protocol.chain.indexer import Indexer
from protocol.database.opening import open_database
from protocol.role.job_files import JobFiles
from protocol.rules.amounts import whole
from protocol.rules.errors import GradproofError, RuleError
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending, JobId
from protocol.training.model import VALIDATION_LOSS


class JobReader:
    """One job's history and its losses, read from chain and content store."""

    def __init__(self, chain: Chain, files: JobFiles | None, job: JobId) -> None:
        self.indexer = Indexer(chain, open_database(None))
        self.files = files
        self.job = job
        self.losses: dict[int, float] = {}

    def read(self) -> JobHistory:
        """The job as of the newest block; raises RuleError where there is no such job."""
        past = self.indexer.sync().jobs.get(self.job)
        if past is None:
            raise RuleError(
                f"there is no job {self.job} on this market",
                fix="`gradproof job show` without a number lists the jobs.",
            )
        self._read_losses(past)
        return past

    def _read_losses(self, past: JobHistory) -> None:
        if self.files is None:
            return
        states = [(past.terms.genesis_root, past.terms.genesis_cid)]
        states += [r.update for r in past.rounds if r.update is not None]
        for number, (root, cid) in enumerate(states):
            if number not in self.losses:
                try:
                    state = self.files.state(past, root, cid)
                except GradproofError:
                    continue  # not here yet; the next block tries again
                self.losses[number] = float(state[VALIDATION_LOSS])


def draw(past: JobHistory, losses: dict[int, float]) -> RenderableType:
    """The live view of a job."""
    table = Table(box=None, pad_edge=False)
    for column in ("round", "phase", "sealed", "checked", "included", "rejected", "val. loss"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    if 0 in losses:
        table.add_row("", "genesis", "", "", "", "", f"{losses[0]:.4f}")
    for round_ in past.rounds:
        row = round_fields(past, round_, losses)
        loss = "" if row["loss"] is None else f"{row['loss']:.4f}"
        rejected = f"[red]{row['rejected']}[/red]" if row["rejected"] else "0"
        names = ("round", "phase", "sealed", "checked", "included")
        table.add_row(*(str(row[name]) for name in names), rejected, loss)
    money = money_of(past)
    paid, slashed = sum(money.paid.values()), sum(money.slashed.values())
    done = sum(r.finalised for r in past.rounds)
    return Group(
        Text(f"job {past.job}: {status_of(past)}", style="bold"),
        ProgressBar(total=past.terms.rounds, completed=done, width=40),
        table,
        Text(
            f"escrow {whole(past.escrow)}  paid {whole(paid)}  slashed {whole(slashed)}  "
            f"burnt {whole(money.burnt)}  refunded {whole(money.refunded)}"
        ),
    )


def round_lines(past: JobHistory, losses: dict[int, float], shown: int) -> list[str]:
    """One line per final round from number `shown` on, for a log instead of a screen."""
    lines = []
    for round_ in past.rounds[shown:]:
        if not round_.finalised:
            break
        row = round_fields(past, round_, losses)
        loss = "no update" if row["loss"] is None else f"validation loss {row['loss']:.4f}"
        lines.append(
            f"round {row['round']}: {row['sealed']} sealed, {row['checked']} checked, "
            f"{row['included']} included, {row['rejected']} rejected, {loss}"
        )
    return lines


def watch(
    reader: JobReader,
    console: Console,
    *,
    poll_seconds: float = 0.5,
    healthy: Callable[[], None] = lambda: None,
) -> JobHistory:
    """Draw the job until it ends, or log it line by line where there is no terminal.

    `healthy` may raise to stop watching.
    """
    shown = 0
    with Live(console=console, refresh_per_second=4) if console.is_terminal else _Still() as live:
        while True:
            healthy()
            try:
                past = reader.read()
            except ChainError as error:
                live.update(Text(str(error), style="yellow"))
                time.sleep(poll_seconds)
                continue
            live.update(draw(past, reader.losses))
            if not console.is_terminal:
                for line in round_lines(past, reader.losses, shown):
                    console.print(line, soft_wrap=True)
                    shown += 1
            if past.ending != Ending.NONE:
                return past
            time.sleep(poll_seconds)


class _Still(AbstractContextManager["_Still"]):
    """Stands where a live display would, and shows nothing."""

    def update(self, _view: RenderableType) -> None:
        """Nothing to redraw."""

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""
