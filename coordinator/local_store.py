"""The store that a person's commands use: the configured one, or one that runs from the home.

Where no daemon is configured, `gradproof store serve` runs the embedded node over HOME/store, and
the commands of the same home find it by HOME/store.json. Where none runs, a command that needs one
starts it for as long as it takes; what it keeps is served the next time.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from protocol.rules.errors import GradproofError
from protocol.runtime.settings import Settings
from protocol.storage.counters import Counters
from protocol.storage.errors import NodeFailed
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.store import ContentStore, open_store

WATCH_SECONDS: Final = 0.2


class CannotDo(GradproofError):
    """A command names a file or a pin that it cannot or must not touch."""


@contextmanager
def open_local_store(
    settings: Settings, counters: Counters | None = None, *, reads_only: bool = False
) -> Iterator[ContentStore]:
    """Open the store of these settings; start the home's own node where there is no other.

    `reads_only`: gateways suffice. Raises StorageError.
    """
    if settings.apis or (reads_only and settings.gateways):
        with open_store(settings.apis, settings.gateways, counters=counters) as store:
            yield store
        return
    with (
        start_node(settings.home / "store") as node,
        open_store([node.api_url], settings.gateways, counters=counters) as store,
    ):
        yield store


def serve(
    home: Path,
    ready: Callable[[NodeProcess], None],
    *,
    port: int,
    gateway_host: str,
    gateway_port: int,
    quota: int | None,
) -> None:
    """Run the home's node until SIGTERM or SIGINT; `ready` hears of it once it answers.

    Raises NodeLocked where another process serves this home, NodeFailed where the node ends.
    """
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    state = home / "store.json"
    with start_node(
        home / "store",
        port,
        gateway_host=gateway_host,
        gateway_port=gateway_port,
        quota=quota,
    ) as node:
        fields = {"pid": os.getpid(), "api_url": node.api_url, "gateway_url": node.gateway_url}
        part = state.with_suffix(".part")
        part.write_text(json.dumps(fields))
        part.replace(state)
        try:
            ready(node)
            while not ending.wait(WATCH_SECONDS):
                if not node.is_running:
                    raise NodeFailed(
                        f"the node for {home / 'store'} ended by itself",
                        fix="Start it again; what it had acknowledged is on disk.",
                    )
        finally:
            state.unlink(missing_ok=True)
