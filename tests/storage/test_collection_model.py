"""Garbage collection against a model: after any history, exactly what is needed is there.

Grace is zero throughout, so nothing hides behind it: a block that neither a live pin nor an upload
in progress needs is gone after a collection, and every other one is there.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from protocol.storage.car import write_car
from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import NotFound
from protocol.storage.node import repo as repo_module
from protocol.storage.node.repo import Repo
from protocol.storage.unixfs import Link, encode_node, links_of

MIB = 1024 * 1024


def _pool() -> dict[Cid, bytes]:
    """A dozen DAGs that share leaves and whole branches, children before parents."""
    blocks: dict[Cid, bytes] = {}
    links: list[Link] = []

    def keep(codec: int, block: bytes, size: int) -> None:
        cid = Cid.of_block(codec, block)
        blocks[cid] = block
        links.append(Link(cid, size, size + len(block)))

    for number in range(6):
        keep(RAW, bytes([number]), 1)
    for parts in ((0, 1), (1, 2, 3), (4,), (6, 5), (6, 7), (9, 8, 0)):
        children = [links[part] for part in parts]
        keep(DAG_PB, encode_node(children), sum(link.size for link in children))
    return blocks


BLOCKS = _pool()
ROOTS = list(BLOCKS)


def closure(root: Cid) -> list[Cid]:
    """Every CID of a DAG, children before parents."""
    below = [] if root.codec == RAW else links_of(BLOCKS[root])
    found = dict.fromkeys(itertools.chain.from_iterable(closure(child) for child in below))
    return [*found, root]


class Wire:
    """A request body that arrives when the test says so."""

    def __init__(self) -> None:
        self.arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = self.arrived.get(timeout=20)
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


class Upload:
    """A `dag/import` in its own thread, fed block by block."""

    def __init__(self, repo: Repo, root: Cid, *, pin: bool) -> None:
        self.root, self.pin = root, pin
        self.todo = closure(root)
        self.sent: list[Cid] = []
        self.failure: BaseException | None = None
        self._repo = repo
        self._wire = Wire()
        self._wire.arrived.put(b"".join(write_car(root, [])))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._repo.import_car(self._wire, pin=self.pin)
        except BaseException as error:  # noqa: BLE001 -- reported by `finish`
            self.failure = error

    def feed(self) -> None:
        """Send the next block and wait until it lies in the store."""
        cid = self.todo.pop(0)
        header, *rest = write_car(cid, [(cid, BLOCKS[cid])])
        assert header
        self._wire.arrived.put(b"".join(rest))
        end = time.monotonic() + 20
        while self._repo.blocks.size(cid) is None:
            assert time.monotonic() < end, "the block did not arrive"
            time.sleep(0.0005)
        self.sent.append(cid)

    def finish(self) -> None:
        self._wire.arrived.put(b"")
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure

    def break_off(self) -> None:
        """Close the connection in the middle of a block."""
        self._wire.arrived.put(b"\x30cut")
        self._wire.arrived.put(b"")
        self._thread.join(20)
        assert self.failure is not None


class Keeping(RuleBasedStateMachine):
    """Uploads, pins, expiries, collections and restarts in any order."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gradproof-model-"))
        self.now = 1000.0
        self.uploads: list[Upload] = []
        self.pins: dict[Cid, float] = {}
        self.loose: set[Cid] = set()  # in the store, needed by nobody as far as they go
        self.batch, repo_module._BATCH = repo_module._BATCH, 1
        self.open()

    def open(self) -> None:
        self.repo = Repo(self.folder, grace=0.0)
        self.repo.pins._clock = lambda: self.now

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        for upload in self.uploads:
            upload.break_off()
        self.repo.close()
        repo_module._BATCH = self.batch
        shutil.rmtree(self.folder)

    def present(self) -> set[bytes]:
        return set(self.repo.blocks.digests())

    def needed(self) -> set[Cid]:
        pinned = (closure(root) for root, end in self.pins.items() if end > self.now)
        arriving = (upload.sent for upload in self.uploads)
        return set(itertools.chain.from_iterable((*pinned, *arriving)))

    @rule(root=st.sampled_from(ROOTS), pin=st.booleans())
    @precondition(lambda self: len(self.uploads) < 3)
    def begin_upload(self, root: Cid, pin: bool) -> None:
        self.uploads.append(Upload(self.repo, root, pin=pin))

    @rule(pick=st.integers(0, 2))
    @precondition(lambda self: any(upload.todo for upload in self.uploads))
    def feed_upload(self, pick: int) -> None:
        going = [upload for upload in self.uploads if upload.todo]
        going[pick % len(going)].feed()

    @rule(pick=st.integers(0, 2))
    @precondition(lambda self: self.uploads)
    def finish_upload(self, pick: int) -> None:
        upload = self.uploads[pick % len(self.uploads)]
        while upload.todo:
            upload.feed()
        upload.finish()
        self.uploads.remove(upload)
        if upload.pin:
            self.pins[upload.root] = float("inf")
        self.loose |= set(upload.sent)

    @rule(pick=st.integers(0, 2))
    @precondition(lambda self: self.uploads)
    def break_upload(self, pick: int) -> None:
        upload = self.uploads.pop(pick % len(self.uploads))
        upload.break_off()
        self.loose |= set(upload.sent)

    @rule(root=st.sampled_from(ROOTS), expires_in=st.sampled_from([None, 5, 50]))
    def pin(self, root: Cid, expires_in: int | None) -> None:
        whole = set(closure(root)) <= self.needed() | self.loose
        if not whole:
            with pytest.raises(NotFound):
                self.repo.pin(root, expires_in)
            return
        self.repo.pin(root, expires_in)
        end = float("inf") if expires_in is None else self.now + expires_in
        self.pins[root] = max(end, self.pins.get(root, 0.0))

    @rule(root=st.sampled_from(ROOTS))
    def unpin(self, root: Cid) -> None:
        live = self.pins.get(root, 0.0) > self.now
        assert self.repo.pins.remove(root) == live
        self.loose |= set(closure(root)) if live else set()
        self.pins.pop(root, None)

    @rule(seconds=st.sampled_from([1, 10, 60]))
    def let_time_pass(self, seconds: int) -> None:
        for root, end in self.pins.items():
            if self.now < end <= self.now + seconds:
                self.loose |= set(closure(root))
        self.now += seconds

    @rule()
    def collect(self) -> None:
        before = self.present()
        gone = set(self.repo.collect())
        needed = {cid.digest for cid in self.needed()}
        assert gone == before - needed
        assert self.present() == needed
        self.loose.clear()

    @rule()
    @precondition(lambda self: not self.uploads)
    def restart(self) -> None:
        self.repo.close()
        self.open()

    @invariant()
    def nothing_needed_is_missing(self) -> None:
        if hasattr(self, "repo"):
            present = self.present()
            assert {cid.digest for cid in self.needed()} <= present
            assert {cid.digest for cid in self.needed() | self.loose} == present
            assert self.repo.blocks.count == len(present)


TestKeeping = Keeping.TestCase
TestKeeping.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.fixture
def greedy(folder: Path) -> Iterator[Repo]:
    repo = Repo(folder, grace=0.0)
    yield repo
    repo.close()


def test_uploads_come_through_a_collector_that_never_rests(greedy: Repo) -> None:
    """Real threads: four uploads of shared content while another thread only collects."""
    stop = threading.Event()
    shared = os.urandom(MIB)
    failures: list[BaseException] = []

    def collect() -> None:
        while not stop.is_set():
            list(greedy.collect())

    def upload() -> None:
        try:
            for _ in range(4):
                tail = os.urandom(100)
                data = shared + tail
                cid, _ = greedy.add(Trickle(data), pin=True, only_hash=False)
                assert b"".join(greedy.read(cid)) == data
                assert greedy.pins.remove(cid)
        except BaseException as error:  # noqa: BLE001 -- reported by the main thread
            failures.append(error)

    collector = threading.Thread(target=collect)
    uploads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in (collector, *uploads):
        thread.start()
    for thread in uploads:
        thread.join(60)
    stop.set()
    collector.join(60)
    assert failures == []
    list(greedy.collect())
    assert (greedy.blocks.used, greedy.blocks.count) == (0, 0)


class Trickle:
    """Bytes that arrive in pieces, so that the upload spans several collections."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        time.sleep(0.0005)
        part, self._data = self._data[: min(size, 65536)], self._data[min(size, 65536) :]
        return part
