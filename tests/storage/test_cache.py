"""The verified cache: hits without a store, eviction in order of use, limits kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.storage.cache import Cache
from protocol.storage.cid import Cid
from protocol.storage.errors import LimitExceeded, NotFound
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import cid_of_bytes


def test_second_fetch_needs_no_store(store: ContentStore, tmp_path: Path, closed_port: str) -> None:
    data = os.urandom(5000)
    cid = store.publish_bytes(data)
    path = Cache(tmp_path, 10_000).fetch(store, cid, 5000)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o400
    with open_store([closed_port]) as dead:
        assert Cache(tmp_path, 10_000).fetch(dead, cid, 5000) == path


def test_cache_drops_what_was_used_longest_ago(store: ContentStore, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 3000)
    cids = [store.publish_bytes(os.urandom(1000)) for _ in range(4)]
    for cid in (*cids[:3], cids[0], cids[3]):
        cache.fetch(store, cid, 1000)
        time.sleep(0.02)
    held = {path.name for path in (tmp_path / "files").iterdir()}
    assert held == {str(cids[0]), str(cids[2]), str(cids[3])}


def test_limits_hold_for_cached_files_and_for_the_cache(
    store: ContentStore, tmp_path: Path
) -> None:
    cid = store.publish_bytes(os.urandom(2000))
    with pytest.raises(LimitExceeded):
        Cache(tmp_path, 1999).fetch(store, cid, 5000)
    cache = Cache(tmp_path, 2000)
    cache.fetch(store, cid, 2000)
    with pytest.raises(LimitExceeded):
        cache.fetch(store, cid, 1999)
    with pytest.raises(NotFound):
        cache.fetch(store, cid_of_bytes(os.urandom(3)), 2000)


def test_open_file_survives_eviction(store: ContentStore, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    first = os.urandom(1000)
    with cache.fetch(store, store.publish_bytes(first), 1000).open("rb") as file:
        cache.fetch(store, store.publish_bytes(os.urandom(1000)), 1000)
        assert file.read() == first


def test_verify_removes_what_the_disk_spoilt(store: ContentStore, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    data = os.urandom(500)
    cid = store.publish_bytes(data)
    assert not cache.verify(cid)
    path = cache.fetch(store, cid, 500)
    assert cache.verify(cid)
    path.chmod(0o600)
    path.write_bytes(bytes(500))
    assert not cache.verify(cid)
    assert cache.fetch(store, cid, 500).read_bytes() == data


def test_parallel_roles_share_one_download(
    serve: Callable[[Callable[[Any], None]], str],
    honest: Callable[[bytes], dict[Cid, bytes]],
    tmp_path: Path,
) -> None:
    data = os.urandom(2_500_000)
    blocks = honest(data)
    asked: list[Cid] = []

    def answer(request: Any) -> None:
        asked.append(request.cid)
        time.sleep(0.05)
        request.send(blocks[request.cid])

    paths: list[Path] = []
    with open_store([serve(answer)]) as store:

        def role() -> None:
            cache = Cache(tmp_path, 10_000_000)
            paths.append(cache.fetch(store, cid_of_bytes(data), len(data)))

        threads = [threading.Thread(target=role) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(paths) == 5
    assert {path.read_bytes() for path in paths} == {data}
    assert sorted(asked) == sorted(blocks)
    assert list((tmp_path / "partial").iterdir()) == []


def test_abandoned_downloads_are_cleared_away(tmp_path: Path) -> None:
    Cache(tmp_path, 1000)
    fresh, stale = tmp_path / "partial" / "fresh.part", tmp_path / "partial" / "stale.part"
    for path in (fresh, stale):
        path.write_bytes(b"half")
    old = time.time() - 2 * 24 * 3600
    os.utime(stale, (old, old))
    Cache(tmp_path, 1000)
    assert list((tmp_path / "partial").iterdir()) == [fresh]
