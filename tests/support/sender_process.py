"""A process that sends one transaction, and may be killed by SIGKILL at a named point of it.

    python -m tests.support.sender_process URL DEPLOYMENT DATABASE KEY POINT TO AMOUNT

It prints the hash and ends with 0, or says why not and ends with 1.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eth_account import Account

from protocol.chain.client import Call, Chain
from protocol.chain.deployment import Deployment
from protocol.chain.journal import Journal
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.rules.errors import GradproofError


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killed_before(real: Callable[..., Any]) -> Callable[..., Any]:
    def run(*_: Any, **__: Any) -> Any:
        _die()

    assert callable(real)
    return run


def _killed_after(real: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **fields: Any) -> Any:
        real(*args, **fields)
        _die()

    return run


POINTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "before store": lambda: _patch(TxSender, "_store", _killed_before),
    "between store and broadcast": lambda: _patch(TxSender, "_broadcast", _killed_before),
    "between broadcast and receipt": lambda: _patch(TxSender, "_broadcast", _killed_after),
    "between receipt and note": lambda: _patch(Journal, "mark", _killed_before),
}
"""Where a process may be killed."""


def _patch(owner: Any, name: str, how: Callable[..., Any]) -> None:
    setattr(owner, name, how(getattr(owner, name)))


def main(url: str, book: str, database: str, key: str, point: str, to: str, amount: str) -> int:
    POINTS[point]()
    try:
        chain = Chain(url, Deployment.read(Path(book)))
        account = Account.from_key(os.environ["SENDER_KEY"])
        sender = TxSender(chain, account, open_database(database))
        call = Call(chain.token, "transfer", (to, int(amount)))
        sys.stdout.write(sender.send(key, call) + "\n")
        sys.stdout.flush()
        if "HOLD" in os.environ:
            sys.stdin.read()
    except GradproofError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
