"""What tests of several folders share: the databases that gradproof runs on."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import new_database, run_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real server, started when the first test asks for it."""
    with run_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'chain.sqlite'}"
    url: str = request.getfixturevalue("postgres")
    return new_database(url, f"test_{secrets.token_hex(6)}")
