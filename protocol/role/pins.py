"""Which content a home keeps for which job, and until when.

The store's pins say that something is kept, not for whom. This ledger does: one SQLite file per
home, shared by its roles and commands. What a round has brought goes when no round needs it any
more, at the latest when the job is over; a requester's data and the last final states stay until
the job is forgotten.

INVARIANT: content is in the ledger before it is pinned, and pinned until no job holds it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from protocol.chain.deployment import Deployment
from protocol.rules.records import JobId
from protocol.runtime.settings import Settings
from protocol.storage.cid import Cid
from protocol.storage.store import ContentStore

DRAFT: Final = JobId(-1)
"""Holds what is published for a job that has no number yet."""

_NAME: Final = "pins.sqlite"
_WAIT_SECONDS: Final = 120.0  # longer than a daemon may take to unpin
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS pins (
    market TEXT NOT NULL,
    job INTEGER NOT NULL,
    bundle TEXT NOT NULL,   -- CID of the index or document that names the content
    cid TEXT NOT NULL,
    stays INTEGER NOT NULL, -- 0: until the job is over, 1: until it is forgotten
    PRIMARY KEY (market, job, bundle, cid)
);
CREATE TABLE IF NOT EXISTS rounds (  -- bundles of older releases are not in it: they go at the end
    market TEXT NOT NULL,
    job INTEGER NOT NULL,
    bundle TEXT NOT NULL,
    round INTEGER NOT NULL, -- the newest that has brought it
    PRIMARY KEY (market, job, bundle)
);
CREATE TABLE IF NOT EXISTS forgotten (market TEXT, job INTEGER, PRIMARY KEY (market, job));
"""


class Pins:
    """The ledger of one market. Safe for processes; a call takes as long as the store's unpin."""

    def __init__(self, path: Path, market: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._market = market
        with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as ledger:
            ledger.executescript(_SCHEMA)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone: nobody begins to hold what another is about to unpin."""
        connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
        with closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def hold(
        self,
        job: JobId,
        bundle: Cid,
        cids: Iterable[Cid],
        *,
        stays: bool = False,
        round_: int | None = None,
    ) -> None:
        """Note content that is about to be pinned for a job; what stays once, stays.

        `round_` is the round that brings it, and `release_rounds` lets it go by that.
        """
        rows = [(self._market, job, str(bundle), str(cid), int(stays)) for cid in (bundle, *cids)]
        with self._changing() as ledger:
            ledger.executemany(
                "INSERT INTO pins VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET stays = max(stays, excluded.stays)",
                rows,
            )
            if round_ is not None:
                ledger.execute(
                    "INSERT INTO rounds VALUES (?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET round = max(round, excluded.round)",
                    (self._market, job, str(bundle), round_),
                )

    def adopt(self, bundle: Cid, job: JobId) -> None:
        """Give what a draft holds under this name to the job that it has become."""
        with self._changing() as ledger:
            ledger.execute(
                "UPDATE OR REPLACE pins SET job = ? WHERE market = ? AND job = ? AND bundle = ?",
                (job, self._market, DRAFT, str(bundle)),
            )

    def jobs_with_results(self) -> set[JobId]:
        """Jobs for which something is held that goes when they are over."""
        rows = self._read(
            "SELECT DISTINCT job FROM pins WHERE market = ? AND stays = 0 AND job != ?", DRAFT
        )
        return {JobId(row[0]) for row in rows}

    def is_forgotten(self, job: JobId) -> bool:
        """Tell whether a person has said that nothing of this job is needed any more."""
        return bool(self._read("SELECT 1 FROM forgotten WHERE market = ? AND job = ?", job))

    def _read(self, query: str, job: JobId) -> list[tuple[int]]:
        with closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS)) as ledger:
            return ledger.execute(query, (self._market, job)).fetchall()

    def stay(self, job: JobId, bundles: Iterable[Cid]) -> None:
        """Keep these bundles until the job is forgotten, where they are held at all."""
        with self._changing() as ledger:
            ledger.executemany(
                "UPDATE pins SET stays = 1 WHERE market = ? AND job = ? AND bundle = ?",
                [(self._market, job, str(bundle)) for bundle in bundles],
            )

    def release(self, job: JobId, store: ContentStore) -> int:
        """Unpin a job's results; return how many files went.

        What another job holds stays pinned. Raises `StoreUnavailable`; what was not unpinned by
        then is still in the ledger.
        """
        return self._release(store, "stays <= ?", job, 0)

    def release_rounds(
        self, job: JobId, before: int, keep: Iterable[Cid], store: ContentStore
    ) -> int:
        """Unpin what rounds below `before` brought, but for some bundles; like `release`."""
        kept = {str(bundle) for bundle in keep}
        with self._changing() as ledger:
            rows = ledger.execute(
                "SELECT DISTINCT bundle FROM pins JOIN rounds USING (market, job, bundle) "
                "WHERE market = ? AND job = ? AND round < ? AND stays = 0",
                (self._market, job, before),
            ).fetchall()
        bundles = [bundle for (bundle,) in rows if bundle not in kept]
        return sum(
            self._release(store, "stays = 0 AND bundle = ?", job, bundle) for bundle in bundles
        )

    def forget(self, job: JobId, store: ContentStore) -> int:
        """Unpin everything of a job, for good; counts and raises like `release`."""
        with self._changing() as ledger:
            ledger.execute("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", (self._market, job))
        return self._release(store, "stays <= ?", job, 1)

    def release_draft(self, bundle: Cid, store: ContentStore) -> int:
        """Unpin what was published for a job that did not come about."""
        return self._release(store, "bundle = ?", DRAFT, str(bundle))

    def _release(self, store: ContentStore, which: str, job: JobId, value: int | str) -> int:
        where = f"market = ? AND job = ? AND {which}"
        with self._changing() as ledger:
            rows = ledger.execute(
                f"SELECT DISTINCT cid FROM pins WHERE {where}",  # noqa: S608 -- our own words
                (self._market, job, value),
            ).fetchall()
        gone = 0
        for (text,) in rows:
            with self._changing() as ledger:
                ledger.execute(
                    f"DELETE FROM pins WHERE {where} AND cid = ?",  # noqa: S608 -- our own words
                    (self._market, job, value, text),
                )
                held = ledger.execute("SELECT 1 FROM pins WHERE cid = ?", (text,)).fetchone()
                if held is None:
                    store.unpin(Cid.parse(text))
                    gone += 1
        with self._changing() as ledger:
            ledger.execute(
                "DELETE FROM rounds WHERE market = ? AND job = ? AND bundle NOT IN "
                "(SELECT bundle FROM pins WHERE pins.market = rounds.market "
                "AND pins.job = rounds.job)",
                (self._market, job),
            )
        return gone


def holders(home: Path, cid: Cid) -> list[JobId]:
    """Jobs of any market for which this home holds a file."""
    path = home / _NAME
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as ledger:
        rows = ledger.execute(
            "SELECT DISTINCT job FROM pins WHERE cid = ? AND job != ? ORDER BY job",
            (str(cid), DRAFT),
        ).fetchall()
    return [JobId(row[0]) for row in rows]


def open_pins(settings: Settings) -> Pins:
    """Open the ledger of this home for its market; raises ChainError without an address book."""
    deployment = Deployment.read(settings.deployment_path)
    return Pins(settings.home / _NAME, f"{deployment.chain_id}/{deployment.market}")
