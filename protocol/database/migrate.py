"""Bringing the tables of a database from one release to another, up or down, by Alembic.

    python -m protocol.database.migrate PLACE --to REVISION [--schema NAME]

PLACE is a SQLite file or a URL. Opening a database brings it up by itself; the command is for going
back before an older release is installed. `--to base` leaves no table.
"""

import argparse
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from protocol.database.engines import make_engine
from protocol.database.errors import DatabaseTooNew

HEAD: Final = "0005"
"""The revision that this release works with."""
_UNVERSIONED: Final = "0001"
"""What a database is that was made before revisions were written down."""


def migrate(connection: Connection, target: str = HEAD) -> None:
    """Bring the tables to `target` inside the caller's transaction; raises DatabaseTooNew."""
    found = revision_of(connection)
    if found == target:
        return
    # Imported late: Alembic takes a fifth of a second, and is needed once per release.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    newest_first = [r.revision for r in ScriptDirectory.from_config(config).walk_revisions()]
    oldest_first = ["base", *reversed(newest_first)]
    if found not in oldest_first:
        raise DatabaseTooNew(found)
    if found == "base" and inspect(connection).has_table("block"):
        command.stamp(config, _UNVERSIONED)
        found = _UNVERSIONED
    if oldest_first.index(target) > oldest_first.index(found):
        command.upgrade(config, target)
    else:
        command.downgrade(config, target)


def revision_of(connection: Connection) -> str:
    """The revision that a database says it is of; `base` where it says nothing."""
    if not inspect(connection).has_table("alembic_version"):
        return "base"
    return connection.scalar(text("SELECT version_num FROM alembic_version")) or "base"


def main() -> None:
    """Migrate the database that the command line names."""
    parser = argparse.ArgumentParser(description="Bring a database to a revision.")
    parser.add_argument("place", help="a SQLite file or a URL")
    parser.add_argument("--to", default=HEAD, help="revision, or `base` for no tables")
    parser.add_argument("--schema", default="public", help="schema of a PostgreSQL server")
    given = parser.parse_args()
    place = given.place if "://" in given.place else Path(given.place)
    with make_engine(place, given.schema).begin() as connection:
        migrate(connection, given.to)


if __name__ == "__main__":
    main()
