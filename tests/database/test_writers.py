"""Eight writers at once: each waits for its turn, and no transaction is lost to a lock."""

import subprocess
import sys
from collections import Counter

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.database.opening import open_database
from protocol.database.tables import BlockRow, TransactionRow

WRITERS, TURNS = 8, 40

WRITER = """
import sys
from sqlalchemy.orm import Session
from protocol.database.opening import open_database
from protocol.database.tables import BlockRow, TransactionRow

place, me, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print("loaded", flush=True)
sys.stdin.readline()
engine = open_database(place)
print("open", flush=True)
sys.stdin.readline()
for turn in range(turns):
    with Session(engine) as session, session.begin():
        counter = session.get(BlockRow, 0, with_for_update=True)
        counter.hash = str(int(counter.hash) + 1).encode()
        session.add(TransactionRow(key=f"{me}/{turn}", sender=str(me), nonce=turn, raw=b"",
            hashes=[], fields={}, state="sent", sent_block=0))
engine.dispose()
"""


def test_eight_writers_open_and_write_at_once_and_lose_nothing(place: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, place, str(me), str(TURNS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(WRITERS)
    ]
    assert [_line(writer) for writer in writers] == ["loaded\n"] * WRITERS
    _go(writers)  # all of them find no table
    assert [_line(writer) for writer in writers] == ["open\n"] * WRITERS
    engine = open_database(place)
    with Session(engine) as session, session.begin():
        session.add(BlockRow(number=0, hash=b"0"))
    _go(writers)
    assert [writer.communicate(timeout=120)[1] for writer in writers] == [""] * WRITERS
    with Session(engine) as session:
        senders = Counter(session.scalars(select(TransactionRow.sender)))
        assert senders == {str(me): TURNS for me in range(WRITERS)}
        assert int(session.get_one(BlockRow, 0).hash) == WRITERS * TURNS, "no update was lost"
    engine.dispose()


def _line(writer: "subprocess.Popen[str]") -> str:
    assert writer.stdout is not None
    line = writer.stdout.readline()
    assert line or writer.poll() is None, writer.communicate()[1]
    return line


def _go(writers: "list[subprocess.Popen[str]]") -> None:
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
