"""The consumer that a role brings along, in a process of its own: what ends it ends nothing else.

It ends with the role: its standard input is a pipe that closes when the role is gone, however it
went. Where another consumer of the home has the device, that one computes for this role as well.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

import structlog

from protocol.fleet.device import AUTO, device_name, is_busy, torch_device
from protocol.runtime.settings import Settings

log = structlog.get_logger()

COMMAND: Final = (sys.executable, "-m", "protocol.role.computing")
LONGEST_PAUSE: Final = 60.0
STOP_SECONDS: Final = 5.0


class EmbeddedConsumer:
    """Keeps one consumer running, as a context; does nothing where `settings` say so."""

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str] = COMMAND,
        device: str = AUTO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._device = device_name(device)
        if settings.compute_here:
            torch_device(self._device)  # a wrong name is said before the role does anything
        self.command = [*command, "--device", self._device, "--embedded"]
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._pause = 1.0
        self._again = 0.0

    def __enter__(self) -> Self:
        self.tend()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tend(self) -> None:
        """Start the consumer where it does not run; one that keeps ending, ever more rarely."""
        if not self._settings.compute_here:
            return
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            log.error("consumer ended", code=code)
            self._process = None
            lived = self._clock() - self._began
            self._pause = 1.0 if lived > LONGEST_PAUSE else min(2 * self._pause, LONGEST_PAUSE)
            self._again = self._clock() + self._pause
        if self._clock() < self._again:
            return
        if is_busy(self._settings.home, self._device):
            self._again = self._clock() + 1.0
            return
        self._began = self._clock()
        self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
            self.command,
            env=os.environ | {"GRADPROOF_QUEUE": self._settings.queue},
            stdin=subprocess.PIPE,
            # Ctrl-C is for the role alone, which may need answers until it has left.
            process_group=0,
        )
