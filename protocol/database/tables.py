"""Every table, as this release reads and writes it; `migrations` says how it came about.

The tables of blocks and logs can be deleted at any time, the table of transactions only when
nothing is under way, and that of computations at the price of computing again.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, LargeBinary, String
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
    # What is under way is found without a look at what is done.
    __table_args__ = (Index("ix_transaction_sender_state", "sender", "state"),)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    sender: Mapped[str] = mapped_column(String(42))
    nonce: Mapped[int]
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    hashes: Mapped[list[str]] = mapped_column(JSON)  # one per fee bump, newest last
    fields: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(10))  # sent, mined, reverted
    attempt: Mapped[int] = mapped_column(default=1)
    first_block: Mapped[int] = mapped_column(server_default="0")  # in which it left
    sent_block: Mapped[int]  # in which it left with the fees it has now


class ComputationRow(Base):
    """A computation that a role asked for, who has it on lease, and what came of it.

    Moments are seconds since 1970 by the database's clock.
    """

    __tablename__ = "computation"
    queue: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    market: Mapped[str] = mapped_column(String(100), index=True)
    job: Mapped[int]
    round: Mapped[int]
    description: Mapped[dict[str, Any]] = mapped_column(JSON)
    deadline: Mapped[int]  # block; the earliest one is computed first
    state: Mapped[str] = mapped_column(String(10), index=True)  # waiting, leased, done, failed
    # The lease. The token rises with every grant: whoever holds an older one is not heard.
    token: Mapped[int] = mapped_column(default=0)
    leased_at: Mapped[float] = mapped_column(Float(53), default=0.0)
    lease_until: Mapped[float] = mapped_column(Float(53), default=0.0)
    consumer: Mapped[str] = mapped_column(String(200), default="")
    # Attempts that came to nothing.
    vanished: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(String(2000), default="")
    not_before: Mapped[float] = mapped_column(Float(53), default=0.0)
    # The answer; `cids` are noted before anything is published.
    cids: Mapped[list[str]] = mapped_column(JSON, default=list)
    root: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    cid: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    witness: Mapped[bytes | None] = mapped_column(LargeBinary)
    seconds: Mapped[float] = mapped_column(Float(53), default=0.0)


class ConsumerRow(Base):
    """A consumer that is there, as it says itself; memory in bytes."""

    __tablename__ = "consumer"
    queue: Mapped[str] = mapped_column(String(100), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    device: Mapped[str] = mapped_column(String(100))
    host: Mapped[str] = mapped_column(String(200))
    memory: Mapped[int] = mapped_column(BigInteger)
    free: Mapped[int] = mapped_column(BigInteger)
    seen: Mapped[float] = mapped_column(Float(53))


class TrialRow(Base):
    """One task of a job that one consumer tries before the job is joined."""

    __tablename__ = "trial"
    queue: Mapped[str] = mapped_column(String(100), primary_key=True)
    consumer: Mapped[str] = mapped_column(String(200), primary_key=True)
    market: Mapped[str] = mapped_column(String(100), primary_key=True)
    job: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    description: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(10))  # waiting, begun, done, failed
    seconds: Mapped[float] = mapped_column(Float(53), default=0.0)
    peak: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes
    error: Mapped[str] = mapped_column(String(2000), default="")
