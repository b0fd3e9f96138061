"""One process per key, across machines: the lock in a PostgreSQL server that roles share."""

import time
from contextlib import suppress

import pytest
from sqlalchemy import text

from protocol.chain import key_lock
from protocol.chain.errors import KeyInUse
from protocol.database.opening import open_database


def test_key_is_refused_through_a_shared_database_too(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines know nothing of each other's processes; the server they share does."""
    monkeypatch.setattr(key_lock, "_take_name", lambda _name, _key: None)
    engine = open_database(postgres, schema="one")
    other = open_database(postgres, schema="two")
    held = key_lock.lock_key("chain", "0xkey", engine)
    with monkeypatch.context() as patch:
        patch.setattr(key_lock, "_held", {})  # as another process has it
        with pytest.raises(KeyInUse, match="shares this database"):
            key_lock.lock_key("chain", "0xkey", other)
        key_lock.lock_key("chain", "0xother", other)
    del held
    key_lock.lock_key("chain", "0xkey", other)
    engine.dispose()
    other.dispose()


def test_lock_of_a_shared_database_is_taken_again_after_it_was_away(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_lock, "_take_name", lambda _name, _key: None)
    engine, other = (open_database(postgres, schema=name) for name in ("one", "two"))
    held = key_lock.lock_key("chain", "0xkey", engine)
    held.renew()
    end = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    with other.begin() as session:
        session.execute(end)
    name = "gradproof/chain/0xkey"
    thief = key_lock.KeyLock(name, "0xkey", other)  # as another machine has it
    for _ in range(2):
        with pytest.raises(KeyInUse, match="shares this database"):
            held.renew()
    del thief
    for _ in range(100):  # the server notices a moment later
        with suppress(KeyInUse):
            held.renew()
            break
        time.sleep(0.05)
    with pytest.raises(KeyInUse, match="shares this database"):
        key_lock.KeyLock(name, "0xkey", other)
    del held
    engine.dispose()
    other.dispose()


def test_machine_that_is_gone_is_noticed(postgres: str) -> None:
    """The system's own limit is two hours: so long its lock would keep its successor out."""
    engine = open_database(postgres)
    with engine.connect() as session:
        driver = session.connection.driver_connection
        assert session.scalar(text("SHOW tcp_keepalives_idle")) in ("15", "0")  # 0: a Unix socket
        assert driver is not None
        assert driver.info.get_parameters()["tcp_user_timeout"] == "20000"
    engine.dispose()
