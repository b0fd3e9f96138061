"""Tables and migrations agree, up and down, on SQLite and on PostgreSQL."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.orm import Session

import protocol.database
from protocol.database.engines import make_engine
from protocol.database.errors import DatabaseTooNew, DatabaseUnavailable, DatabaseUnusable
from protocol.database.migrate import HEAD, migrate, revision_of
from protocol.database.opening import open_database
from protocol.database.tables import Base, BlockRow
from tests.support.postgres import find_programs, run_postgres


def revisions() -> list[str]:
    """Every revision, oldest first."""
    config = Config()
    folder = Path(protocol.database.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    walked = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in walked][::-1]


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def test_head_is_the_newest_revision() -> None:
    assert revisions()[-1] == HEAD


def test_migrations_give_the_tables_of_this_release(place: str) -> None:
    engine = open_database(place)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert tables(engine) == set(Base.metadata.tables)
    engine.dispose()


def test_every_revision_goes_up_and_down(place: str) -> None:
    engine = make_engine(place)
    ladder = ["base", *revisions()]
    seen = {}
    for revision in [*ladder, *reversed(ladder)]:
        with engine.begin() as connection:
            migrate(connection, revision)
            assert revision_of(connection) == revision
        found = {
            (table, column["name"])
            for table in tables(engine)
            for column in inspect(engine).get_columns(table)
        }
        assert seen.setdefault(revision, found) == found, "down leads to what up came from"
    assert tables(engine) == set()
    engine.dispose()


def test_rows_live_through_the_newest_migration(place: str) -> None:
    """Everything of the role's journal is kept by going back one release and forth again."""
    engine = open_database(place)
    with Session(engine) as session, session.begin():
        session.add(BlockRow(number=7, hash=bytes(32)))
    for revision in [*revisions()[-2:-1], HEAD]:
        with engine.begin() as connection:
            migrate(connection, revision)
    with Session(engine) as session:
        assert session.get_one(BlockRow, 7).hash == bytes(32)
    engine.dispose()


def test_failed_migration_leaves_everything_as_it_was(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    engine = make_engine(place)

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        # The first tables exist by then; the last one never comes.
        make = op.create_table
        patch.setattr(
            op, "create_table", lambda name, *c: fail() if name == "log" else make(name, *c)
        )
        with pytest.raises(RuntimeError, match="power cut"), engine.begin() as connection:
            migrate(connection)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_database_from_before_revisions_is_adopted(tmp_path: Path) -> None:
    file = tmp_path / "chain.sqlite"
    old = make_engine(file)
    with old.begin() as connection:
        migrate(connection, "0001")
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(BlockRow.__table__.insert().values(number=7, hash=bytes(32)))
    engine = open_database(file)
    with Session(engine) as session:
        assert session.get_one(BlockRow, 7)
    with engine.connect() as connection:
        assert revision_of(connection) == HEAD


def test_database_of_a_newer_release_is_left_alone(place: str) -> None:
    engine = open_database(place)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999"):
        open_database(place)
    engine.dispose()


def test_command_takes_a_database_back(tmp_path: Path) -> None:
    file = tmp_path / "chain.sqlite"
    open_database(file)
    command = [sys.executable, "-m", "protocol.database.migrate", str(file), "--to", "base"]
    subprocess.run(command, check=True, timeout=60)
    assert tables(create_engine(f"sqlite:///{file}")) == set()


def test_roles_that_share_a_server_do_not_see_each_other(postgres: str) -> None:
    worker, verifier = (open_database(postgres, schema=s) for s in ("worker", "verifier"))
    with Session(worker) as session, session.begin():
        session.add(BlockRow(number=1, hash=bytes(32)))
    with Session(verifier) as session:
        assert session.get(BlockRow, 1) is None
    worker.dispose()
    verifier.dispose()


def test_server_that_is_away_is_named_without_its_password() -> None:
    find_programs()
    with pytest.raises(DatabaseUnavailable, match=r"gp:\*\*\*@127\.0\.0\.1:9/x") as caught:
        open_database("postgresql://gp:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)


def test_server_that_goes_away_is_a_typed_error_at_whatever_was_under_way() -> None:
    with run_postgres() as url:
        engine = open_database(url)
        session = Session(engine)
        session.add(BlockRow(number=1, hash=bytes(32)))
        session.flush()
    with pytest.raises(DatabaseUnavailable):
        session.commit()
    session.close()
    with Session(engine) as another, pytest.raises(DatabaseUnavailable):
        another.get(BlockRow, 1)
    engine.dispose()


@pytest.mark.parametrize("address", ["nonsense", "mysql://localhost/x"])
def test_address_that_is_no_database_is_refused(address: str) -> None:
    with pytest.raises(DatabaseUnusable):
        open_database(address)
