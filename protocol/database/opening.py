"""Opening a database: whoever does brings its tables to this release first, alone.

Two processes that start together do not both migrate: the second waits and finds it done.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from protocol.database.engines import make_engine
from protocol.database.migrate import migrate
from protocol.runtime.settings import Settings


def open_database(place: Path | str | None, schema: str = "public") -> Engine:
    """Open (or make) the database at a path or URL; None keeps it in memory, as the auditor does.

    `schema` separates those who share a PostgreSQL server; a SQLite file has no schemas. Raises
    DatabaseUnavailable, DatabaseUnusable or DatabaseTooNew.
    """
    engine = make_engine(place, schema)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                _enter_schema(connection, schema)
            migrate(connection)
    except Exception:
        engine.dispose()
        raise
    return engine


def role_database(settings: Settings, home: Path) -> Engine:
    """The database of one role, whose folder is `home`."""
    url = settings.database.get_secret_value()
    if url:
        return open_database(url, schema=home.name)
    return open_database(home / "chain.sqlite")


def fleet_database(settings: Settings) -> Engine:
    """The database of computations, which the roles and consumers of one operator share."""
    url = settings.database.get_secret_value()
    if url:
        return open_database(url, schema="fleet")
    return open_database(settings.home / "fleet" / "leases.sqlite")


def _enter_schema(connection: Connection, schema: str) -> None:
    """One opener at a time, until it commits; the schema is there afterwards."""
    lock = text("SELECT pg_advisory_xact_lock(hashtext(:name))")
    connection.execute(lock, {"name": f"gradproof/{schema}"})
    quoted = connection.dialect.identifier_preparer.quote_identifier(schema)
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quoted}"))
