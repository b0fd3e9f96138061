"""A consumer's process: leases, store, bell, and the thread that computes.

    python -m protocol.role.computing [--device NAME] [--embedded]

is what a role starts for itself; a person uses `gradproof worker compute`.
"""

import argparse
import os
import shutil
import signal
import socket
import sys
import threading
from queue import SimpleQueue

import structlog

from protocol.database.opening import fleet_database
from protocol.fleet.attendance import Attendance
from protocol.fleet.bell import celery_app, listen
from protocol.fleet.consumer import Consumer
from protocol.fleet.device import AUTO, device_name, hold_device, torch_device
from protocol.fleet.leases import Leases
from protocol.fleet.trials import Trials
from protocol.role.computer import StoreComputer, Tamper
from protocol.role.job_files import JobFiles
from protocol.rules.errors import GradproofError
from protocol.runtime.settings import Settings
from protocol.runtime.start import start_process
from protocol.storage.cache import Cache
from protocol.storage.store import open_store
from protocol.training.model import warm_up

log = structlog.get_logger()


def run_consumer(
    settings: Settings, device: str, *, embedded: bool = False, tamper: Tamper | None = None
) -> None:
    """Compute for the queue of `settings` until SIGTERM, or until standard input ends if embedded.

    Raises FleetError where the device or the broker is none, DeviceBusy, DatabaseUnavailable.
    Does not return: the process ends here, in the middle of a computation if need be, whose lease
    it has given back.
    """
    device = device_name(device)
    on = torch_device(device)
    celery_app(settings)  # one of another kind is refused before anything is begun
    hold_device(settings.home, device)  # until the process ends
    engine = fleet_database(settings)
    leases = Leases(engine, settings.queue, seconds=settings.lease_seconds)
    store = open_store(settings.apis, settings.gateways)

    def open_files() -> JobFiles:
        return JobFiles(store, Cache(settings.cache_path, settings.cache_bytes, store.counters))

    folder = settings.home / "fleet" / "results" / device
    shutil.rmtree(folder, ignore_errors=True)  # left by a consumer that was killed
    host = socket.gethostname()
    name = f"{device}-{os.getpid()}@{host}"
    computer = StoreComputer(open_files, folder, tamper, on)
    trials = Trials(engine, settings.queue, silent_seconds=2 * settings.lease_seconds)
    consumer = Consumer(
        leases,
        computer,
        name,
        look_seconds=settings.look_seconds,
        attendance=Attendance(trials, name, device, host),
    )

    def end(code: int) -> None:
        try:
            consumer.stop()
        except GradproofError as error:
            log.warning("lease not given back", error=str(error))  # it runs out by itself
        sys.stderr.flush()
        os._exit(code)

    def compute() -> None:
        try:
            warm_up()
            log.info("consumer ready", queue=settings.queue, device=device)
            consumer.run()
        except BaseException:
            log.exception("consumer failed")
            end(1)

    def watch_role() -> None:
        sys.stdin.buffer.read()  # ends when the role has ended
        end(0)

    signals = _signals()
    threading.Thread(target=compute, name="compute", daemon=True).start()
    if embedded:
        threading.Thread(target=watch_role, name="watch", daemon=True).start()
    threading.Thread(
        target=listen, args=(settings, name, consumer.wake), name="bell", daemon=True
    ).start()
    signals.get()
    end(0)


def _signals() -> "SimpleQueue[int]":
    """Where SIGTERM and SIGINT arrive from now on; into no other queue may a handler put."""
    arrived: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: arrived.put(number))
    return arrived


def embedded_main(tamper: Tamper | None = None) -> None:
    """The command line of a consumer that a role starts."""
    parser = argparse.ArgumentParser(description="Compute for a role's queue.")
    parser.add_argument("--device", default=AUTO)
    parser.add_argument("--embedded", action="store_true", help="end when standard input does")
    given, _ = parser.parse_known_args()
    try:
        run_consumer(start_process(), given.device, embedded=given.embedded, tamper=tamper)
    except GradproofError as error:
        log.error("consumer cannot start", error=str(error))
        sys.exit(2)


if __name__ == "__main__":
    embedded_main()
