"""The role's own database file: transactions it sent, blocks and logs it read.

A projection and a journal, never the truth: the tables of blocks and logs can be deleted at any
time, the table of transactions only when nothing is under way.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Engine, LargeBinary, String, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables of a role's database."""


class BlockRow(Base):
    """A block this role has read, kept to notice a reorganisation."""

    __tablename__ = "block"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class LogRow(Base):
    """One log of the market, raw."""

    __tablename__ = "log"
    block_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    block_number: Mapped[int] = mapped_column(index=True)
    raw: Mapped[dict[str, Any]] = mapped_column(JSON)


class TransactionRow(Base):
    """One thing this role wants the chain to do, and how far it has got."""

    __tablename__ = "transaction"
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    sender: Mapped[str] = mapped_column(String(42), index=True)
    nonce: Mapped[int]
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    hashes: Mapped[list[str]] = mapped_column(JSON)  # one per fee bump, newest last
    fields: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(10), index=True)  # sent, mined, reverted
    attempt: Mapped[int] = mapped_column(default=1)
    sent_block: Mapped[int]


def open_database(path: Path | None) -> Engine:
    """Open (or make) the database; None keeps it in memory, as the auditor does."""
    if path is None:
        engine = create_engine("sqlite://")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=5000")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that turns into a writer fails under load; an immediate one waits.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    Base.metadata.create_all(engine)
    return engine
