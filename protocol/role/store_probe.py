"""Whether the content store answers, asked in the background: one that hangs holds up no duty."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from protocol.storage.store import open_store

EVERY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 5.0
Heard = Callable[[str | None], None]


class StoreProbe:
    """Tells `heard` every half minute why no daemon answers, None where one does."""

    def __init__(self, apis: Sequence[str], heard: Heard, seconds: float = EVERY_SECONDS) -> None:
        self._apis = apis
        self._heard = heard
        self._seconds = seconds
        self._stopped = threading.Event()

    def start(self) -> None:
        """Ask from now on; with no daemon configured there is nothing to ask."""
        if self._apis:
            threading.Thread(target=self._run, name="store probe", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _run(self) -> None:
        with open_store(self._apis, block_seconds=ANSWER_SECONDS) as store:
            while not self._stopped.is_set():
                silent = store.silent()
                if not self._stopped.is_set():
                    self._heard(f"the content store does not answer: {silent}" if silent else None)
                self._stopped.wait(self._seconds)
