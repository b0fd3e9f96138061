"""One process per key: two that count nonces for one key overwrite each other's transactions.

A name in the system's table of abstract sockets belongs to the process that took it, and is free
the moment that process ends, however it ends. It holds for all users and homes of one machine (one
network namespace). Roles that share a PostgreSQL server also hold a lock there, which holds for all
machines, until the server notices that they are gone. Neither leaves a file behind.
"""

import socket
import struct
import sys
import weakref
from contextlib import suppress
from threading import Lock
from typing import Final

from sqlalchemy import Connection, Engine, text

from protocol.chain.errors import KeyInUse
from protocol.database.errors import DatabaseUnavailable

_CREDENTIALS: Final = "3i"  # struct ucred: pid, uid, gid
_held: "weakref.WeakValueDictionary[str, KeyLock]" = weakref.WeakValueDictionary()
_guard: Final = Lock()


class KeyLock:
    """A key that this process alone sends with, until the last user lets go of this object."""

    def __init__(self, name: str, key: str, engine: Engine) -> None:
        self._name, self._key, self._engine = name, key, engine
        self._door = _take_name(name, key)
        self._let_go_at_the_end: weakref.finalize[..., KeyLock] | None = None
        self._hold(None)
        try:
            self._hold(_take_lock(name, key, engine))
        except BaseException:
            _let_go(self._door, None)
            raise

    def renew(self) -> None:
        """Take the lock again where the shared database was away, and forgot it.

        Raises KeyInUse where another machine has it by now, DatabaseUnavailable.
        """
        if self._engine.dialect.name != "postgresql":
            return
        if self._session is not None:
            try:
                self._session.scalar(text("SELECT 1"))
            except DatabaseUnavailable:
                # It would connect anew by itself, without the lock.
                _let_go(None, self._session)
                self._hold(None)
            else:
                return
        self._hold(_take_lock(self._name, self._key, self._engine))

    def _hold(self, session: Connection | None) -> None:
        if self._let_go_at_the_end is not None:
            self._let_go_at_the_end.detach()
        self._session = session
        self._let_go_at_the_end = weakref.finalize(self, _let_go, self._door, session)


def lock_key(chain: str, key: str, engine: Engine) -> KeyLock:
    """Take the key `key` on the chain `chain` for this process; raises KeyInUse."""
    name = f"gradproof/{chain}/{key}"
    with _guard:
        lock = _held.get(name)
        if lock is None:
            lock = _held[name] = KeyLock(name, key, engine)
        return lock


def _take_name(name: str, key: str) -> socket.socket | None:
    if not sys.platform.startswith("linux"):
        return None  # other systems have no such table, and nobody is refused there
    door = socket.socket(socket.AF_UNIX)
    try:
        door.bind("\0" + name)
        door.listen()
    except OSError:
        door.close()
        raise KeyInUse(key, _holder(name)) from None
    return door


def _holder(name: str) -> str:
    """Who has the name: a process of this machine."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.connect("\0" + name)
        size = struct.calcsize(_CREDENTIALS)
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return f"process {struct.unpack(_CREDENTIALS, credentials)[0]}"
    return "another process"


def _take_lock(name: str, key: str, engine: Engine) -> Connection | None:
    if engine.dialect.name != "postgresql":
        return None
    session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    taken = session.scalar(
        text("SELECT pg_try_advisory_lock(hashtextextended(:n, 0))"), {"n": name}
    )
    if not taken:
        session.close()
        raise KeyInUse(key, "a process that shares this database")
    return session


def _let_go(door: socket.socket | None, session: Connection | None) -> None:
    if door is not None:
        door.close()
    if session is not None:
        # A lock belongs to its session: it goes with the connection, not back to the pool.
        with suppress(Exception):
            session.invalidate()
            session.close()
