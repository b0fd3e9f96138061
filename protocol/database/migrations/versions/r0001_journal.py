"""Blocks and logs read, transactions sent."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "block",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "log",
        sa.Column("block_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("log_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("block_number", sa.Integer, nullable=False, index=True),
        sa.Column("raw", sa.JSON, nullable=False),
    )
    op.create_table(
        "transaction",
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("sender", sa.String(42), nullable=False, index=True),
        sa.Column("nonce", sa.Integer, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("hashes", sa.JSON, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("state", sa.String(10), nullable=False, index=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("sent_block", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("transaction", "log", "block"):
        op.drop_table(table)
