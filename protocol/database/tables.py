"""Every table, as this release reads and writes it; `migrations` says how it came about.

The tables of blocks and logs can be deleted at any time, the table of transactions only when
nothing is under way.
"""

from typing import Any

from sqlalchemy import JSON, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables."""


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
