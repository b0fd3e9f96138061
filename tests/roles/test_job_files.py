"""Files of strangers: however many a bundle has, they arrive in the time given to all of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.role import job_files
from protocol.role.job_files import FETCH_SECONDS, JobFiles
from protocol.storage.cid import Cid
from protocol.storage.errors import StoreUnavailable
from protocol.storage.unixfs import cid_of_bytes
from protocol.training.bundle import ShardFile
from tests.support.sights import Scene

SHARDS = [cid_of_bytes(bytes([n])) for n in range(8)]
ROOT = bytes(32)


class Slow:
    """Store and cache of files that take some seconds each; what has arrived stays."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cost = 0.0
        self.allowed: list[float] = []
        self.here: set[Cid] = set()

    def fetch_bytes(self, _cid: Cid, _limit: int, *, timeout: float) -> bytes:
        self._take(timeout)
        return b"index"

    @contextmanager
    def lend(self, _store: Any, cid: Cid, _limit: int, *, timeout: float) -> Iterator[Path]:
        if cid not in self.here:
            self._take(timeout)
            self.here.add(cid)
        yield Path(str(cid))

    def _take(self, timeout: float) -> None:
        self.allowed.append(timeout)
        self.now += min(self.cost, timeout)
        if self.cost > timeout:
            raise StoreUnavailable("the content did not arrive in the time allowed")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow()

    def read(_index: bytes, borrow: Callable[[Cid], Path], _expect: Any, _root: bytes) -> Any:
        return {str(borrow(cid)): None for cid in SHARDS}

    monkeypatch.setattr(job_files, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(job_files, "list_shards", lambda *_: [ShardFile(c, 1) for c in SHARDS])
    monkeypatch.setattr(job_files, "read_bundle", read)
    monkeypatch.setattr(job_files, "result_schema", lambda _manifest: {})
    monkeypatch.setattr(JobFiles, "manifest", lambda *_, **__: None)
    return made


@pytest.fixture
def files(slow: Slow) -> JobFiles:
    return JobFiles(slow, slow)  # type: ignore[arg-type]  # what it uses of store and cache


def test_files_of_a_result_share_its_time(files: JobFiles, slow: Slow) -> None:
    slow.cost = 50.0
    with pytest.raises(StoreUnavailable):
        files.result(Scene().past, ROOT, ROOT, timeout=120.0)
    assert slow.now == 120.0
    assert slow.allowed == [FETCH_SECONDS, FETCH_SECONDS, 20.0]


def test_next_try_goes_on_with_what_is_missing(files: JobFiles, slow: Slow) -> None:
    slow.cost = 50.0
    for arrived in range(1, len(SHARDS)):
        with pytest.raises(StoreUnavailable):
            files.result(Scene().past, ROOT, ROOT, timeout=120.0)
        assert len(slow.here) == arrived
    assert len(files.result(Scene().past, ROOT, ROOT, timeout=120.0)) == len(SHARDS)


def test_consumer_waits_for_every_file_as_long_as_for_one(files: JobFiles, slow: Slow) -> None:
    slow.cost = 50.0
    assert len(files.result(Scene().past, ROOT, ROOT)) == len(SHARDS)
    assert set(slow.allowed) == {FETCH_SECONDS}
