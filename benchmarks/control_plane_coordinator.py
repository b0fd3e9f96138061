"""A coordinator's real service in a process of its own, each step of whose ticks is measured.

Its chain, database, sender, leases and openings are those of every coordinator. Two things are not
there: the content store, which says that it has everything, and the consumer, in whose place this
process answers with a hash.

A step's cost is processor time, which another process on the machine does not lengthen much, and
the number of requests that it sends to the chain's endpoint; how long that takes to answer is the
endpoint's matter.
"""

import contextlib
import multiprocessing
import os
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog
from eth_account import Account

from benchmarks.control_plane_crowd import stub_answer
from benchmarks.control_plane_market import COORDINATOR
from coordinator.project import decide
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.consumer import Consumer, Note
from protocol.rules.records import JobId
from protocol.runtime.settings import Settings
from protocol.storage.counters import Counters

KEY = b"\x07" * 32
"""The coordinator's own, on a chain that is thrown away."""
STEPS = ("settle", "index", "observe", "decide", "act", "tend")
"""In the order of a tick; `tend` is what follows it: keeping, forgetting, metrics."""


@dataclass(frozen=True)
class Tick:
    """What one tick cost by step, and how large the process is after it."""

    seconds: dict[str, float]
    requests: dict[str, int]
    wall: float
    resident: int  # bytes of the process
    history: int  # bytes of its history and openings, written down
    database: int  # bytes of its folder on disk


class StubComputer:
    """Knows every answer."""

    def compute(self, wanted: Computation, _note: Note) -> Computed:
        """The answer that the whole crowd gives."""
        return stub_answer(wanted.job, wanted.round, wanted.question)

    def forget_all_but(self, jobs: set[tuple[str, JobId]]) -> None:
        """It has no files."""


class StubStore:
    """A content store that has everything."""

    def __init__(self) -> None:
        self.counters = Counters()

    def has(self, _cid: object) -> bool:
        """It does."""
        return True

    def pin(self, _cid: object) -> None:
        """It is kept."""

    def unpin(self, _cid: object) -> None:
        """It is let go."""


class StubFiles:
    """Files of jobs whose states are an index and nothing else."""

    def __init__(self, store: StubStore) -> None:
        self.store = store

    def state_files(self, *_: object, **__: object) -> tuple[bytes, tuple[()]]:
        """An index that names no shard."""
        return b"", ()

    def close(self, _job: JobId) -> None:
        """Nothing is open."""


class Stopwatch:
    """Gives each step its own processor time and requests, less those of the steps inside it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._open: list[str] = []
        self._since = 0.0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What happens in here is this step's."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def counting(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        """The same request, noted."""

        def noted(*args: Any) -> Any:
            if self._open:
                self.requests[self._open[-1]] += 1
            return ask(*args)

        return noted

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function as a step."""

        def timed(*args: Any, **options: Any) -> Any:
            with self.step(name):
                return function(*args, **options)

        return timed

    def _turn(self) -> None:
        now = time.thread_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


class Ticker:
    """The service and its stopwatch."""

    def __init__(self, url: str, book: Path, home: Path) -> None:
        from protocol.role.service import RoleService

        settings = Settings(
            home=home, rpc_url=url, deployment=book, provider=COORDINATOR, compute_here=False
        )
        store, account = StubStore(), Account.from_key(KEY)
        place = home / "coordinator"
        self.home = home
        self.watch = Stopwatch()
        self.service = RoleService(settings, store, account, COORDINATOR, place)  # type: ignore[arg-type]  # a stub
        service, around = self.service, self.watch.around
        service.keeper.files = StubFiles(store)  # type: ignore[assignment]  # a stub
        service.observer.is_fit = lambda _past: True
        service.vetting.ask = lambda _sight: None  # type: ignore[method-assign]  # nothing to fetch
        self.consumer = Consumer(service.leases, StubComputer(), "stub")
        self.decide = around("decide", decide)
        endpoints: Any = service.chain.endpoints
        endpoints._ask = self.watch.counting(endpoints._ask)
        for owner, method, step in (
            (service.sender, "settle", "settle"),
            (service.observer.indexer, "sync", "index"),
            (service.observer, "observe", "observe"),
            (service, "_act", "act"),
        ):
            setattr(owner, method, around(step, getattr(owner, method)))

    def tick(self) -> Tick:
        """One look at the chain with all its acts; what was asked to be computed is, afterwards."""
        seconds, requests = self.watch.seconds.copy(), self.watch.requests.copy()
        began = time.perf_counter()
        with self.watch.step("tend"):
            self.service.tick(self.decide, self._keep)
        wall = time.perf_counter() - began
        while self.consumer.work_once():
            pass
        return Tick(
            {step: self.watch.seconds[step] - seconds[step] for step in STEPS},
            {step: self.watch.requests[step] - requests[step] for step in STEPS},
            wall,
            _resident(),
            len(
                pickle.dumps(
                    (self.service.observer.indexer.history, dict(self.service.openings.all()))
                )
            ),
            sum(path.stat().st_size for path in self.home.rglob("*") if path.is_file()),
        )

    def _keep(self, sight: Any) -> None:
        for past in sight.market.jobs.values():
            self.service.keeper.keep_states(past)


class CoordinatorProcess:
    """The other end: a context that ends the process."""

    def __init__(self, url: str, book: Path, home: Path) -> None:
        self._channel, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=_serve, args=(url, book, home, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> "CoordinatorProcess":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._channel.send(False)
        self._channel.close()
        self._process.join(30)

    def tick(self) -> Tick:
        """Have it look and act once."""
        self._channel.send(True)
        found: Tick = self._channel.recv()
        return found


def _serve(url: str, book: Path, home: Path, channel: Connection) -> None:
    quiet = structlog.make_filtering_bound_logger(40)
    structlog.configure(wrapper_class=quiet)
    ticker = Ticker(url, book, home)
    while channel.recv():
        channel.send(ticker.tick())


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
