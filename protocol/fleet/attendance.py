"""One consumer's side of the trials: it says that it is there, and takes what is to be tried."""

import time
from collections.abc import Callable

from protocol.fleet.computation import Computation
from protocol.fleet.device import torch_device
from protocol.fleet.memory import free_bytes, total_bytes
from protocol.fleet.trials import Facts, Trials


class Attendance:
    """A consumer's place among those that compute for a queue. Safe for two threads."""

    def __init__(
        self,
        trials: Trials,
        name: str,
        device: str,
        host: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trials = trials
        self._name = name
        self._device = device
        self._host = host
        self._clock = clock
        self._said = float("-inf")

    def appear(self) -> None:
        """Say that this consumer is there and what memory it could have, now and then."""
        if self._clock() - self._said < self._trials.silent_seconds / 4:
            return
        self._said = self._clock()
        on = torch_device(self._device)
        facts = Facts(self._name, self._device, self._host, total_bytes(on), free_bytes(on))
        self._trials.appear(facts)

    def vanish(self) -> None:
        """Say that it ends, of its own will."""
        self._trials.vanish(self._name)

    def begin(self) -> Computation | None:
        """What to try next."""
        return self._trials.begin(self._name)

    def finish(self, tried: Computation, seconds: float, peak: int) -> None:
        """It worked: seconds and peak of memory in bytes."""
        self._trials.finish(self._name, tried, seconds, peak)

    def give_up(self, tried: Computation, error: str) -> None:
        """It did not."""
        self._trials.give_up(self._name, tried, error)
