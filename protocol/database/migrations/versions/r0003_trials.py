"""Consumers that are there, and the tasks that they tried."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "consumer",
        sa.Column("queue", sa.String(100), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("device", sa.String(100), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("memory", sa.BigInteger, nullable=False),
        sa.Column("free", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.Float(53), nullable=False),
    )
    op.create_table(
        "trial",
        sa.Column("queue", sa.String(100), primary_key=True),
        sa.Column("consumer", sa.String(200), primary_key=True),
        sa.Column("market", sa.String(100), primary_key=True),
        sa.Column("job", sa.Integer, primary_key=True),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("peak", sa.BigInteger, nullable=False),
        sa.Column("error", sa.String(2000), nullable=False),
    )


def downgrade() -> None:
    """Drop them: consumers appear again, and try again."""
    op.drop_table("trial")
    op.drop_table("consumer")
