"""One index for what a key has under way, however much it has done."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Put the two indexes of single columns into one."""
    op.create_index("ix_transaction_sender_state", "transaction", ["sender", "state"])
    op.drop_index("ix_transaction_state", "transaction")
    op.drop_index("ix_transaction_sender", "transaction")


def downgrade() -> None:
    """Take them apart again."""
    op.create_index("ix_transaction_sender", "transaction", ["sender"])
    op.create_index("ix_transaction_state", "transaction", ["state"])
    op.drop_index("ix_transaction_sender_state", "transaction")
