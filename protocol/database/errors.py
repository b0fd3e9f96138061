"""What can be wrong with a database."""

from protocol.rules.errors import GradproofError


class DatabaseUnavailable(GradproofError):
    """The database does not answer, or does not let us in."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"the database {where} cannot be opened",
            why=why.strip(),
            fix="Start the server, or correct GRADPROOF_DATABASE.",
        )


class DatabaseUnusable(GradproofError):
    """The address names nothing that this release can use."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            why="SQLite and PostgreSQL are supported.",
            fix="Set GRADPROOF_DATABASE to postgresql://user@host/name, or unset it for SQLite.",
        )


class DatabaseTooNew(GradproofError):
    """A newer release has changed the tables."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is of revision {revision}, which this release does not know",
            why="A newer release has been here.",
            fix="Use that release, or take it back first: "
            "python -m protocol.database.migrate PLACE --to REVISION",
        )
