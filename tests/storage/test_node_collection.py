"""What the embedded node keeps: quota, pins, and garbage collection."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import pytest

from protocol.storage.cid import RAW, Cid
from protocol.storage.errors import (
    LimitExceeded,
    NotFound,
    StoreUnavailable,
)
from protocol.storage.node import start_node
from protocol.storage.node.repo import Repo
from protocol.storage.store import open_store
from protocol.storage.unixfs import blocks_of_stream

MIB = 1024 * 1024


def test_collection_keeps_pins_and_drops_the_rest(repo: Repo) -> None:
    kept, _ = repo.add(io.BytesIO(os.urandom(2 * MIB + 3)), pin=True, only_hash=False)
    loose, _ = repo.add(io.BytesIO(os.urandom(MIB + 3)), pin=False, only_hash=False)
    gone = set(repo.collect())
    assert loose.digest in gone
    assert len(gone) == 3
    assert len(list(repo.walk(kept))) == 4
    repo.pins.remove(kept)
    assert len(list(repo.collect())) == 4
    assert (repo.blocks.used, repo.blocks.count) == (0, 0)


def test_collection_spares_what_is_young(folder: Path) -> None:
    repo = Repo(folder, grace=3600)
    cid, _ = repo.add(io.BytesIO(b"just arrived"), pin=False, only_hash=False)
    assert list(repo.collect()) == []
    old = time.time() - 7200
    path = next(folder.glob("blocks/*/*"))
    os.utime(path, (old, old))
    repo.put(cid, b"just arrived")  # asked for again: young again
    assert list(repo.collect()) == []
    os.utime(path, (old, old))
    assert list(repo.collect()) == [cid.digest]
    repo.close()


def test_pin_needs_the_whole_dag(repo: Repo) -> None:
    blocks = dict(blocks_of_stream(io.BytesIO(os.urandom(2 * MIB))))
    *leaves, root = blocks
    repo.put(root, blocks[root])
    repo.put(leaves[0], blocks[leaves[0]])
    with pytest.raises(NotFound, match=str(leaves[1])):
        repo.pin(root)
    repo.put(leaves[1], blocks[leaves[1]])
    repo.pin(root)


def test_quota_holds_against_parallel_writers_and_frees_on_demand(folder: Path) -> None:
    repo = Repo(folder, quota=10 * MIB, grace=0.0)
    cid, _ = repo.add(io.BytesIO(os.urandom(4 * MIB)), pin=True, only_hash=False)
    refused = []

    def write() -> None:
        for _ in range(3):
            block = os.urandom(MIB)
            try:
                repo.blocks.put(Cid.of_block(RAW, block), block)
            except LimitExceeded:
                refused.append(block)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = sum(path.stat().st_size for path in folder.glob("blocks/*/*"))
    assert stored == repo.blocks.used <= 10 * MIB
    assert len(refused) == 12 - 5
    # `put` of the repo makes room by itself, but never at a pin's cost.
    for _ in range(12):
        block = os.urandom(MIB)
        repo.put(Cid.of_block(RAW, block), block)
    assert len(list(repo.walk(cid))) == 5
    repo.close()


def test_content_over_the_quota_is_refused_and_costs_no_pin(folder: Path) -> None:
    repo = Repo(folder, quota=4 * MIB)
    kept, _ = repo.add(io.BytesIO(os.urandom(2 * MIB)), pin=True, only_hash=False)
    try:
        with pytest.raises(LimitExceeded):
            repo.add(io.BytesIO(os.urandom(3 * MIB)), pin=True, only_hash=False)
        assert len(list(repo.walk(kept))) == 3
        assert list(repo.pins.live()) == [kept]
    finally:
        repo.close()


def test_quota_error_reaches_the_publisher(folder: Path) -> None:
    with (
        start_node(folder, quota=2 * MIB) as small,
        open_store([small.api_url]) as store,
        pytest.raises(StoreUnavailable, match="quota"),
    ):
        store.publish_bytes(os.urandom(6 * MIB))
