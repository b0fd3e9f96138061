"""Computations that roles ask for, and their leases."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "computation",
        sa.Column("queue", sa.String(100), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("market", sa.String(100), nullable=False, index=True),
        sa.Column("job", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("deadline", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False, index=True),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("leased_at", sa.Float(53), nullable=False),
        sa.Column("lease_until", sa.Float(53), nullable=False),
        sa.Column("consumer", sa.String(200), nullable=False),
        sa.Column("vanished", sa.Integer, nullable=False),
        sa.Column("errors", sa.Integer, nullable=False),
        sa.Column("error", sa.String(2000), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("cids", sa.JSON, nullable=False),
        sa.Column("root", sa.LargeBinary(32)),
        sa.Column("cid", sa.LargeBinary(32)),
        sa.Column("witness", sa.LargeBinary),
        sa.Column("seconds", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    """Drop it: what was under way is asked for again."""
    op.drop_table("computation")
