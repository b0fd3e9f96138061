"""Pauses between attempts at something that keeps failing: each is twice as long as the last."""

import time
from collections.abc import Callable
from typing import Final

SHORTEST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0


def pause_after(
    failures: int, shortest: float = SHORTEST_PAUSE, longest: float = LONGEST_PAUSE
) -> float:
    """Seconds to wait after so many failures, one at least."""
    return min(shortest * 2.0 ** min(failures - 1, 20), longest)


class Pauses:
    """One process's pauses; they begin anew once nothing has failed for the longest of them."""

    def __init__(
        self,
        shortest: float = SHORTEST_PAUSE,
        longest: float = LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shortest = shortest
        self._longest = longest
        self._clock = clock
        self._failures = 0
        self._over = clock()

    @property
    def left(self) -> float:
        """Seconds until the pause is over; 0 where there is none."""
        return max(0.0, self._over - self._clock())

    def begin(self) -> float:
        """Begin a pause after a failure; its seconds."""
        now = self._clock()
        if now - self._over > self._longest:
            self._failures = 0
        self._failures += 1
        pause = pause_after(self._failures, self._shortest, self._longest)
        self._over = now + pause
        return pause
