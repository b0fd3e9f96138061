"""When a transaction first left, however often its fees were raised since."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the block; of what is there, the last sending is all that is known."""
    column = sa.Column("first_block", sa.Integer, nullable=False, server_default="0")
    op.add_column("transaction", column)
    table = sa.table("transaction", sa.column("first_block"), sa.column("sent_block"))
    op.execute(table.update().values(first_block=table.c.sent_block))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("transaction", "first_block")
