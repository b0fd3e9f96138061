"""A real PostgreSQL server on a free loopback port, for as long as a test session."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from protocol.chain.anvil import free_port

HOW_TO_GET = "run infra/devnet/servers.sh, or install PostgreSQL"
START_SECONDS = 60.0


def find_programs() -> Path:
    """The folder of PostgreSQL's programs; skips the test where there is none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "postgres").exists():
            return folder
    found = shutil.which("postgres")
    if found is None:
        pytest.skip(f"no PostgreSQL here: {HOW_TO_GET}")
    return Path(found).resolve().parent


@contextmanager
def run_postgres() -> Iterator[str]:
    """Start a server with an empty cluster; yields the URL of its first database."""
    programs = find_programs()
    # The server refuses to run as root, and its user cannot enter pytest's own folders.
    user = "postgres" if os.geteuid() == 0 else None
    root = Path(tempfile.mkdtemp(prefix="gradproof-postgres-"))
    if user is not None:
        shutil.chown(root, user)
    port, data = free_port(), root / "data"
    make = [programs / "initdb", "-D", data, "-U", "gradproof", "-A", "trust", "--no-sync"]
    subprocess.run(make, check=True, user=user, cwd=root, stdout=subprocess.DEVNULL, timeout=60)
    serve = [programs / "postgres", "-D", data, "-p", str(port), "-k", root, "-F"]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(serve, user=user, cwd=root, stdout=log, stderr=log)
    url = f"postgresql://gradproof@127.0.0.1:{port}/postgres"
    try:
        _await(url, server, root / "log")
        yield url
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nobody needs these files again
        server.wait(30)
        shutil.rmtree(root)


def _await(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        assert server.poll() is None, log.read_text()
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.05)


def new_database(url: str, name: str) -> str:
    """Make an empty database in the server; returns its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name))
        )
    return url.rsplit("/", 1)[0] + f"/{name}"
