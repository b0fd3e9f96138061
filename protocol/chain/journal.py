"""What one key has sent, and what became of it: the table of transactions, by its only writer.

A row is there before its bytes leave the machine, and stays: it is what makes an idempotency key
hold for good.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from protocol.database.tables import TransactionRow
from protocol.rules.records import Address


@dataclass(frozen=True, slots=True)
class Tally:
    """Transactions of one key by state, and the block in which the oldest one under way left."""

    counts: Mapping[str, int]
    oldest: int | None
    reverts: int
    """How many have reverted, or lost their nonce, since this process began."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A version of a transaction: its fields, bytes and hash, and the block it left in."""

    fields: dict[str, Any]
    raw: bytes
    hash: str
    block: int


class Journal:
    """The transactions of one key. States are sent, mined and reverted."""

    def __init__(self, engine: Engine, sender: Address) -> None:
        self.engine = engine
        self.sender = sender
        self._counts = self._count()
        self._reverts = 0

    def find(self, key: str) -> TransactionRow | None:
        """The transaction of an idempotency key, or None where it was never used."""
        with Session(self.engine) as session:
            return session.get(TransactionRow, key)

    def under_way(self) -> list[TransactionRow]:
        """What was sent and has no receipt yet, by nonce."""
        query = select(TransactionRow).where(*self._sent())
        with Session(self.engine) as session:
            return list(session.scalars(query.order_by(TransactionRow.nonce)))

    def keep(self, key: str, signed: Signed, attempt: int) -> None:
        """Note what is about to be sent; of a transaction under way, a version with other fees."""
        with Session(self.engine) as session, session.begin():
            row = session.get(TransactionRow, key)
            before = None if row is None else row.state
            nonce = signed.fields["nonce"]
            earlier = row if row is not None and before == "sent" and row.nonce == nonce else None
            session.merge(
                TransactionRow(
                    key=key,
                    sender=self.sender,
                    nonce=nonce,
                    raw=signed.raw,
                    hashes=[*(earlier.hashes if earlier else []), signed.hash],
                    fields=signed.fields,
                    state="sent",
                    attempt=attempt,
                    first_block=earlier.first_block if earlier else signed.block,
                    sent_block=signed.block,
                )
            )
        self._recount(before, "sent")

    def mark(self, key: str, state: str, mined: str | None = None) -> None:
        """Note a state; the version that was mined comes last, where `wait` looks for it."""
        with Session(self.engine) as session, session.begin():
            row = session.get_one(TransactionRow, key)
            before, row.state = row.state, state
            if mined is not None:
                row.hashes = [*(sent for sent in row.hashes if sent != mined), mined]
        self._recount(before, state)
        self._reverts += state == "reverted"

    def next_nonce(self) -> int:
        """The nonce after the last one that is under way; 0 where nothing is."""
        with Session(self.engine) as session:
            used = session.scalar(select(func.max(TransactionRow.nonce)).where(*self._sent()))
        return 0 if used is None else used + 1

    def tally(self) -> Tally:
        """What this key has sent so far."""
        query = select(func.min(TransactionRow.first_block)).where(*self._sent())
        with Session(self.engine) as session:
            return Tally(+self._counts, session.scalar(query), self._reverts)

    def states(self, prefix: str) -> set[str]:
        """What became of the transactions whose keys begin with `prefix`, but for the mined."""
        query = select(TransactionRow.state).where(
            TransactionRow.sender == self.sender,
            TransactionRow.state.in_(("sent", "reverted")),
            TransactionRow.key.startswith(prefix, autoescape=True),
        )
        with Session(self.engine) as session:
            return set(session.scalars(query))

    def _sent(self) -> tuple[Any, Any]:
        return TransactionRow.sender == self.sender, TransactionRow.state == "sent"

    def _count(self) -> Counter[str]:
        """Rows by state, read once: nobody else writes them, and `_recount` keeps them in step."""
        query = (
            select(TransactionRow.state, func.count())
            .where(TransactionRow.sender == self.sender)
            .group_by(TransactionRow.state)
        )
        with Session(self.engine) as session:
            return Counter({row.state: row[1] for row in session.execute(query)})

    def _recount(self, before: str | None, state: str) -> None:
        if before is not None:
            self._counts[before] -= 1
        self._counts[state] += 1
