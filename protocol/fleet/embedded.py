"""The consumer that a role brings along, in a process of its own: what ends it ends nothing else.

It ends with the role: its standard input is a pipe that closes when the role is gone, however it
went. Where another consumer of the home has the device, that one computes for this role as well.
INVARIANT: a role whose consumer cannot run goes on with all that needs no device.
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

from protocol.fleet.device import AUTO, device_name, is_busy
from protocol.fleet.pauses import Pauses
from protocol.runtime.settings import Settings

log = structlog.get_logger()

COMMAND: Final = (sys.executable, "-m", "protocol.role.computing")
BUSY_SECONDS: Final = 1.0
"""How often to look whether a device that somebody else has is free."""
STOP_SECONDS: Final = 5.0


class EmbeddedConsumer:
    """Keeps one consumer running, as a context; does nothing where `settings` say so.

    Raises FleetError for a device with an impossible name. Whether it is there is for the consumer
    to find out, each time anew: a process that once found no GPU may never find one.
    """

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str] = COMMAND,
        device: str = AUTO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._device = device_name(device)
        self.command = [*command, "--device", self._device, "--embedded"]
        self._clock = clock
        self.process: subprocess.Popen[bytes] | None = None
        self._pauses = Pauses(clock=clock)
        self._look = float("-inf")

    def __enter__(self) -> Self:
        self.tend()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._let_go(self.process)

    def tend(self) -> None:
        """Start the consumer where it does not run; one that keeps ending, ever more rarely."""
        if not self._settings.compute_here or self._runs() or self._pauses.left:
            return
        if self._clock() < self._look:
            return
        try:
            if is_busy(self._settings.home, self._device):
                self._look = self._clock() + BUSY_SECONDS
            else:
                self._start()
        except OSError as error:
            log.error("consumer not started", error=str(error), pause=self._pauses.begin())

    def _runs(self) -> bool:
        if self.process is None:
            return False
        code = self.process.poll()
        if code is None:
            return True
        self._let_go(self.process)
        log.error("consumer ended", code=code, pause=self._pauses.begin())
        return False

    def _let_go(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None, "a pipe"
        process.stdin.close()
        self.process = None

    def _start(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
            self.command,
            env=os.environ | {"GRADPROOF_QUEUE": self._settings.queue},
            stdin=subprocess.PIPE,
            # Ctrl-C is for the role alone, which may need answers until it has left.
            process_group=0,
        )
