"""A consumer: takes leases one after the other and computes, on one device, until it is stopped.

It looks at the leases when the bell rings and every few seconds anyway. A second thread renews the
lease under way; a lease that is lost costs the work done for it and nothing else. What this host
lacks (memory, room on the disk, file handles) is not the computation's fault: the consumer pauses,
and leaves it to others.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from protocol.database.errors import DatabaseUnavailable
from protocol.fleet.attendance import Attendance
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.errors import DeviceFailed, LeaseLost, OutOfMemory
from protocol.fleet.leases import Lease, Leases
from protocol.fleet.pauses import LONGEST_PAUSE, SHORTEST_PAUSE, Pauses
from protocol.rules.errors import GradproofError
from protocol.rules.records import JobId

log = structlog.get_logger()

Note = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a task cost that was computed and not published: seconds, peak of memory in bytes."""

    seconds: float
    peak: int


class Computer(Protocol):
    """Does computations; tells `note` the CIDs, index first, before it publishes them."""

    def compute(self, wanted: Computation, note: Note) -> Computed: ...
    def rehearse(self, wanted: Computation) -> Rehearsal: ...
    def forget_all_but(self, jobs: set[tuple[str, JobId]]) -> None: ...


class Consumer:
    """One device's worth of computing for one queue."""

    def __init__(
        self,
        leases: Leases,
        computer: Computer,
        name: str,
        *,
        look_seconds: float = 2.0,
        attendance: Attendance | None = None,
    ) -> None:
        self.look_seconds = look_seconds  # how long a lost ring costs at most
        self.leases = leases
        self.computer = computer
        self.name = name
        self.attendance = attendance
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._stopped = False
        # Shorter than the computation's own pause, since something smaller may fit; and longer, so
        # that other hosts are the first to try it again.
        self._memory = Pauses(shortest=SHORTEST_PAUSE / 2, longest=SHORTEST_PAUSE / 2)
        self._host = Pauses(shortest=2 * SHORTEST_PAUSE, longest=2 * LONGEST_PAUSE)

    def wake(self) -> None:
        """Look at the leases now."""
        self._bell.set()

    def run(self) -> None:
        """Look and compute until `stop`; raises DeviceFailed, after which a new process must."""
        while not self._stopped:
            self._bell.clear()
            try:
                self._appear()
                while self._may_work() and (self.work_once() or self.try_once()):
                    pass
                self.computer.forget_all_but(set(self.leases.jobs()))
            except DatabaseUnavailable as error:
                log.warning("leases not reachable", error=str(error))
            except (OSError, MemoryError) as error:
                self._pause(error)
            self._bell.wait(self.look_seconds)

    def stop(self) -> None:
        """Take no more leases and give back the one under way, so that another can have it now."""
        self._stopped = True
        self.wake()
        with self._lock:
            lease, self._lease = self._lease, None
        if self.attendance is not None:
            self.attendance.vanish()
        if lease is not None:
            log.info("lease given back", question=lease.computation.question)
            self.leases.give_back(lease)

    def work_once(self) -> bool:
        """Compute the most urgent thing there is; False where there was nothing."""
        lease = self.leases.claim(self.name)
        if lease is None:
            return False
        with self._lock:
            self._lease = lease
        wanted, began = lease.computation, time.monotonic()
        told = log.bind(job=wanted.job, round=wanted.round, question=wanted.question)
        told.info("computing", token=lease.token)
        try:
            with self._renewing(lease):
                found = self.computer.compute(wanted, lambda cids: self.leases.note(lease, cids))
            seconds = time.monotonic() - began
            self.leases.finish(lease, found, seconds)
            told.info("computed", seconds=round(seconds, 2))
        except LeaseLost as error:
            told.warning("computed for nothing", error=str(error))
        except DatabaseUnavailable:
            raise  # the lease runs out by itself
        except DeviceFailed as error:
            self._hand_in(self.leases.break_off, lease, str(error))
            raise
        except (OutOfMemory, MemoryError, OSError) as error:
            self._pause(error)
            self._hand_in(self.leases.postpone, lease, _named(error))
        except GradproofError as error:
            told.warning("not computed yet", error=str(error))
            self._hand_in(self.leases.postpone, lease, str(error))
        except Exception as error:  # noqa: BLE001 -- a defect: said in full, not tried for ever
            told.exception("broken off")
            self._hand_in(self.leases.break_off, lease, _named(error))
        finally:
            with self._lock:
                self._lease = None
        return True

    def try_once(self) -> bool:
        """Try a task of a job that a role thinks of joining; False where there was nothing."""
        if self.attendance is None:
            return False
        wanted = self.attendance.begin()
        if wanted is None:
            return False
        told = log.bind(job=wanted.job)
        told.info("trying")
        try:
            with self._renewing(None):
                found = self.computer.rehearse(wanted)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # whatever it is, the job is better not joined
            told.warning("cannot compute this job", error=str(error))
            self.attendance.give_up(wanted, str(error) or type(error).__name__)
            if isinstance(error, DeviceFailed):
                raise
        else:
            self.attendance.finish(wanted, found.seconds, found.peak)
            told.info("tried", seconds=round(found.seconds, 2), mib=found.peak >> 20)
        return True

    def _may_work(self) -> bool:
        return not (self._stopped or self._memory.left or self._host.left)

    def _pause(self, error: Exception) -> None:
        pause = (self._host if isinstance(error, OSError) else self._memory).begin()
        log.error("this host lacks something, others may compute", error=_named(error), pause=pause)

    def _appear(self) -> None:
        if self.attendance is not None:
            self.attendance.appear()

    def _hand_in(self, tell: Callable[[Lease, str], None], lease: Lease, error: str) -> None:
        try:
            tell(lease, error)
        except LeaseLost as lost:
            log.warning("computed for nothing", error=str(lost))

    @contextmanager
    def _renewing(self, lease: Lease | None) -> Iterator[None]:
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self.leases.seconds / 3):
                try:
                    if lease is not None:
                        self.leases.renew(lease)
                    self._appear()
                except LeaseLost:
                    return  # `finish` will say so
                except (GradproofError, OSError, RuntimeError) as error:
                    log.warning("lease not renewed", error=_named(error))

        thread = threading.Thread(target=renew, name="renew", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _named(error: Exception) -> str:
    return str(error) if isinstance(error, GradproofError) else f"{type(error).__name__}: {error}"
