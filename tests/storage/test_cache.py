"""The verified cache: hits without a store, room made in order of use, loans that nobody takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from protocol.storage.cache import Cache
from protocol.storage.cid import Cid
from protocol.storage.counters import Counters
from protocol.storage.errors import LimitExceeded, NotFound, StoreUnavailable
from protocol.storage.node import NodeProcess
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import cid_of_bytes

MIB = 1024 * 1024
BORROW = """
import sys
from pathlib import Path
from protocol.storage.cache import Cache
from protocol.storage.cid import Cid
from protocol.storage.store import open_store

root, most, api, *names = sys.argv[1:]
cache = Cache(Path(root), int(most))
with open_store([api]) as store:
    for name in names:
        with cache.lend(store, Cid.parse(name), int(most)) as path:
            print(len(path.read_bytes()), flush=True)
            sys.stdin.readline()
"""


def borrower(cache: Path, most: int, api: str, *cids: Cid) -> subprocess.Popen[str]:
    """Another process that borrows one file after the other, a line of input each."""
    command = [sys.executable, "-c", BORROW, str(cache), str(most), api, *map(str, cids)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def held(root: Path) -> set[str]:
    return {path.name for path in (root / "files").iterdir()}


def test_second_loan_needs_no_store(store: ContentStore, tmp_path: Path, closed_port: str) -> None:
    data = os.urandom(5000)
    cid = store.publish_bytes(data)
    with Cache(tmp_path, 10_000).lend(store, cid, 5000) as path:
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o400
    counters = Counters()
    with (
        open_store([closed_port]) as dead,
        Cache(tmp_path, 10_000, counters).lend(dead, cid, 5000) as again,
    ):
        assert again == path
    totals = counters.totals()
    assert (totals["cache_hits"], totals["cache_misses"]) == (1, 0)


def test_cache_drops_what_was_used_longest_ago(store: ContentStore, tmp_path: Path) -> None:
    counters = Counters()
    cache = Cache(tmp_path, 3000, counters)
    cids = [store.publish_bytes(os.urandom(1000)) for _ in range(4)]
    for cid in (*cids[:3], cids[0], cids[3]):
        with cache.lend(store, cid, 1000):
            time.sleep(0.02)
    assert held(tmp_path) == {str(cids[0]), str(cids[2]), str(cids[3])}
    totals = counters.totals()
    assert (totals["cache_hits"], totals["cache_misses"]) == (1, 4)
    assert (totals["cache_evicted_files"], totals["cache_evicted_bytes"]) == (1, 1000)
    assert cache.usage().size == cache.usage().most == 3000


def test_limits_hold_for_cached_files_and_for_the_cache(
    store: ContentStore, tmp_path: Path
) -> None:
    cid = store.publish_bytes(os.urandom(2000))
    with pytest.raises(LimitExceeded), Cache(tmp_path, 1999).lend(store, cid, 5000):
        pass
    cache = Cache(tmp_path, 2000)
    with cache.lend(store, cid, 2000):
        pass
    with pytest.raises(LimitExceeded), cache.lend(store, cid, 1999):
        pass
    with pytest.raises(NotFound), cache.lend(store, cid_of_bytes(os.urandom(3)), 2000):
        pass


def test_what_another_process_uses_is_never_evicted(
    node: NodeProcess, store: ContentStore, tmp_path: Path
) -> None:
    used, other, third = (store.publish_bytes(os.urandom(1000)) for _ in range(3))
    with borrower(tmp_path, 2000, node.api_url, used) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1000\n"
        cache = Cache(tmp_path, 2000)
        with cache.lend(store, other, 1000):
            pass
        with cache.lend(store, third, 1000):
            # `used` was used longest ago, but is still lent.
            assert held(tmp_path) == {str(used), str(third)}
        process.communicate("\n", timeout=30)
    with cache.lend(store, other, 1000):
        assert held(tmp_path) == {str(third), str(other)}


def test_process_that_is_killed_gives_its_loan_back(
    node: NodeProcess, store: ContentStore, tmp_path: Path
) -> None:
    used, other = (store.publish_bytes(os.urandom(1000)) for _ in range(2))
    with borrower(tmp_path, 1000, node.api_url, used) as process:
        assert process.stdout is not None
        process.stdout.readline()
        cache = Cache(tmp_path, 1000)
        with pytest.raises(LimitExceeded, match="in use"), cache.lend(store, other, 1000):
            pass
        assert list((tmp_path / "partial").iterdir()) == []
        process.send_signal(signal.SIGKILL)
    with cache.lend(store, other, 1000):
        assert held(tmp_path) == {str(other)}


def test_spoilt_file_is_found_and_fetched_again(store: ContentStore, tmp_path: Path) -> None:
    counters = Counters()
    cache = Cache(tmp_path, 2 * MIB, counters)
    data = os.urandom(MIB + 500)
    cid = store.publish_bytes(data)
    with cache.lend(store, cid, len(data)) as path:
        pass
    path.chmod(0o600)
    spoilt = bytearray(data)
    spoilt[MIB + 7] ^= 1
    path.write_bytes(spoilt)
    with cache.lend(store, cid, len(data)) as path:
        assert path.read_bytes() == data
    assert counters.totals()["cache_spoilt_files"] == 1
    assert counters.totals()["cache_misses"] == 2


def test_cleaning_removes_spoilt_foreign_and_abandoned_files_alone(
    store: ContentStore, tmp_path: Path
) -> None:
    cache = Cache(tmp_path, 10_000)
    good, bad = (store.publish_bytes(os.urandom(500)) for _ in range(2))
    for cid in (good, bad):
        with cache.lend(store, cid, 500) as path:
            pass
    path.chmod(0o600)
    path.write_bytes(bytes(500))
    before = (tmp_path / "files" / str(good)).stat().st_mtime_ns
    (tmp_path / "files" / "notes.txt").write_text("not ours")
    (tmp_path / "partial" / f"{good}.part").write_bytes(b"half")
    assert cache.clean() == 3
    assert held(tmp_path) == {str(good)}
    assert (tmp_path / "files" / str(good)).stat().st_mtime_ns == before  # not a use
    assert cache.clean() == 0


def test_parallel_roles_share_one_download(
    serve: Callable[[Callable[[Any], None]], str],
    honest: Callable[[bytes], dict[Cid, bytes]],
    tmp_path: Path,
) -> None:
    data = os.urandom(2_500_000)
    blocks = honest(data)
    cid = cid_of_bytes(data)
    asked: list[Cid] = []

    def answer(request: Any) -> None:
        asked.append(request.cid)
        time.sleep(0.05)
        request.send(blocks[request.cid])

    url = serve(answer)
    with ExitStack() as stack:
        roles = [stack.enter_context(borrower(tmp_path, 10_000_000, url, cid)) for _ in range(4)]
        for role in roles:
            assert role.communicate("\n", timeout=60)[0] == f"{len(data)}\n"
    assert sorted(asked) == sorted(blocks)
    assert list((tmp_path / "partial").iterdir()) == []


def test_download_that_ran_out_of_time_goes_on_where_it_was(
    serve: Callable[[Callable[[Any], None]], str],
    honest: Callable[[bytes], dict[Cid, bytes]],
    tmp_path: Path,
) -> None:
    data = os.urandom(10 * MIB)
    blocks = honest(data)
    cid = cid_of_bytes(data)
    sent: list[Cid] = []
    slow = [True]

    def answer(request: Any) -> None:
        if slow[0] and len(sent) >= 5:
            time.sleep(15.0)
            return
        sent.append(request.cid)
        request.send(blocks[request.cid])

    cache = Cache(tmp_path, 20 * MIB)
    with open_store([serve(answer)]) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable), cache.lend(store, cid, len(data), timeout=3.0):
            raise AssertionError("half of it is missing")
        assert time.monotonic() - began < 10.0
        slow[0] = False
        with cache.lend(store, cid, len(data), timeout=20.0) as path:
            assert path.read_bytes() == data
    again = [one for one in blocks if sent.count(one) > 1]
    assert set(sent) == set(blocks)
    assert set(again) <= {cid}, "its root alone is asked for twice"


def test_another_process_that_fetches_is_waited_for_no_longer_than_allowed(
    serve: Callable[[Callable[[Any], None]], str], store: ContentStore, tmp_path: Path
) -> None:
    data = os.urandom(5000)
    cid = store.publish_bytes(data)
    asked = []

    def hang(request: Any) -> None:
        asked.append(request.cid)
        time.sleep(10.0)

    cache = Cache(tmp_path, 10_000)
    with borrower(tmp_path, 10_000, serve(hang), cid) as other:
        while not asked:
            time.sleep(0.01)
        began = time.monotonic()
        with (
            pytest.raises(StoreUnavailable, match="another process"),
            cache.lend(store, cid, 5000, timeout=0.5),
        ):
            raise AssertionError("the other one has not got it either")
        assert 0.5 <= time.monotonic() - began < 5.0
        other.kill()
    with cache.lend(store, cid, 5000, timeout=5.0) as path:
        assert path.read_bytes() == data


def test_many_processes_on_a_small_cache_keep_its_limit(
    node: NodeProcess, store: ContentStore, tmp_path: Path
) -> None:
    """Each borrows every file in an order of its own; all get theirs, and the limit holds."""
    cids = [store.publish_bytes(os.urandom(MIB + n)) for n in range(6)]
    most = 4 * MIB + 100  # four borrowers at a time, whatever they hold
    cache = Cache(tmp_path, most)
    with ExitStack() as stack:
        orders = [cids[n:] + cids[:n] for n in range(3)]
        roles = [stack.enter_context(borrower(tmp_path, most, node.api_url, *o)) for o in orders]
        for role in roles:
            out, _ = role.communicate("\n" * len(cids), timeout=120)
            assert len(out.split()) == len(cids)
    assert cache.usage().size <= most
    assert cache.clean() == 0


def test_abandoned_downloads_are_cleared_away(tmp_path: Path) -> None:
    Cache(tmp_path, 1000)
    fresh, stale = tmp_path / "partial" / "fresh.part", tmp_path / "partial" / "stale.part"
    for path in (fresh, stale):
        path.write_bytes(b"half")
    old = time.time() - 2 * 24 * 3600
    os.utime(stale, (old, old))
    Cache(tmp_path, 1000)
    assert list((tmp_path / "partial").iterdir()) == [fresh]
