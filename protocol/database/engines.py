"""Connections: a SQLite file, memory, or a schema of a PostgreSQL server."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from protocol.database.errors import DatabaseUnavailable, DatabaseUnusable

WAIT_SECONDS = 30.0
"""How long a SQLite writer waits for its turn; eight at once have waited less than two seconds."""

_PATIENCE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms
}
"""A host that is gone without a word is noticed in twenty seconds; the system's own limits are a
quarter of an hour for what was sent, and two hours for what is awaited."""
_PATIENCE_OF_SERVER: Final = (
    "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
"""The same the other way round: what a machine that is gone had locked is free in half a minute."""


def make_engine(place: Path | str | None, schema: str = "public") -> Engine:
    """Name the database at a path or URL, None for memory; nothing is contacted yet.

    Raises DatabaseUnusable. Whoever uses the engine while the database is away is told so by
    DatabaseUnavailable.
    """
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        place = f"sqlite:///{place}"
    url = _url(place or "sqlite://")
    engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url, schema)
    shown = url.render_as_string(hide_password=True)

    @event.listens_for(engine, "handle_error")
    def _say_what_is_wrong(context: ExceptionContext) -> None:
        # The pool's own question whether a connection is alive has an answer of its own.
        if isinstance(context.sqlalchemy_exception, OperationalError) and not context.is_pre_ping:
            raise DatabaseUnavailable(shown, str(context.original_exception)) from None

    return engine


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError:
        raise DatabaseUnusable("the database's address is no URL") from None
    match url.get_backend_name():
        case "sqlite":
            return url
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise DatabaseUnusable(f"gradproof does not know databases of the kind {other}")


def _postgresql(url: URL, schema: str) -> Engine:
    # A connection that broke while it was idle is replaced, not handed out.
    options = {**_PATIENCE, "options": f"-csearch_path={schema} {_PATIENCE_OF_SERVER}"}
    return create_engine(url, connect_args=options, pool_pre_ping=True)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={int(WAIT_SECONDS * 1000)}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that turns into a writer fails under load; an immediate one waits.
        # Whoever only reads says so, and neither waits for writers nor holds them up.
        only_reads = connection.get_execution_options().get("only_reads", False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine
