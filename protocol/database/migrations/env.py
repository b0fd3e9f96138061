"""Run by Alembic: migrate over the connection, and inside the transaction, of `migrate`."""

from alembic import context

from protocol.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
