"""The embedded node under faults: kills, power cuts, full and rotten disks, a second process."""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from protocol.storage.cid import Cid
from protocol.storage.errors import (
    LimitExceeded,
    NodeLocked,
    NotFound,
    StoreUnavailable,
)
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.node import blocks as blocks_module
from protocol.storage.node.pins import PinJournal
from protocol.storage.node.repo import Repo
from protocol.storage.store import open_store
from protocol.storage.unixfs import cid_of_bytes
from tests.support.node_calls import ask, call, form

MIB = 1024 * 1024


def test_published_content_survives_kill_9(folder: Path) -> None:
    """Publishing goes on while the process dies: all that was acknowledged is there, and whole."""
    acknowledged: dict[Cid, bytes] = {}
    process = start_node(folder)

    def publish() -> None:
        with open_store([process.api_url]) as store:
            while True:
                data = os.urandom(MIB + len(acknowledged))
                try:
                    acknowledged[store.publish_bytes(data)] = data
                except StoreUnavailable:
                    return

    thread = threading.Thread(target=publish)
    thread.start()
    while len(acknowledged) < 5:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    thread.join(20)
    process.stop()
    with start_node(folder) as again, open_store([again.api_url]) as store:
        pins = call(again, "pin/ls")[0]["Keys"]
        for cid, data in acknowledged.items():
            assert store.fetch_bytes(cid, len(data)) == data
            assert str(cid) in pins
        assert list((folder / "tmp").iterdir()) == []
        stat = call(again, "repo/stat")[0]
        stored = [path.stat().st_size for path in folder.glob("blocks/*/*")]
        assert (stat["NumObjects"], stat["RepoSize"]) == (len(stored), sum(stored))


@pytest.mark.parametrize("killed_after", [1, 60, 150])
def test_kill_9_in_the_middle_of_200_puts_loses_no_acknowledged_block(
    folder: Path, killed_after: int
) -> None:
    """Eight clients put blocks of all sizes; what the node answered for is there, and whole."""
    process = start_node(folder)
    source = random.Random(killed_after)
    todo: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for _ in range(200):
        todo.put(source.randbytes(source.choice([1, 1000, 40_000, MIB, 2 * MIB])))
    acknowledged: dict[str, bytes] = {}
    reached = threading.Event()

    def put_blocks() -> None:
        with suppress(queue.Empty, OSError, http.client.HTTPException):
            while True:
                block = todo.get_nowait()
                body, headers = form(block)
                (reply,) = call(process, "block/put?cid-codec=raw", body, **headers)
                acknowledged[reply["Key"]] = block
                if len(acknowledged) >= killed_after:
                    reached.set()

    threads = [threading.Thread(target=put_blocks) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert reached.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    process.stop()
    assert killed_after <= len(acknowledged) < 200
    with start_node(folder) as again:
        for cid, block in acknowledged.items():
            status, _, content = ask(again.api_url, "POST", f"/api/v0/block/get?arg={cid}")
            assert (status, content) == (200, block)
        assert list((folder / "tmp").iterdir()) == []
        for path in folder.glob("blocks/*/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_block_gets_its_name_only_once_its_bytes_are_synced(
    repo: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut would show: the named file is the one synced, its folders after it."""
    synced: list[tuple[int, bool]] = []
    sync = os.fsync

    def watch(fd: int) -> None:
        synced.append((os.fstat(fd).st_ino, any(folder.glob("blocks/*/*"))))
        sync(fd)

    monkeypatch.setattr(os, "fsync", watch)
    repo.put(cid_of_bytes(b"durable"), b"durable")
    path = next(folder.glob("blocks/*/*"))
    assert synced[0] == (path.stat().st_ino, False)
    folders = (path.parent, path.parent.parent)
    assert set(synced[1:]) == {(each.stat().st_ino, True) for each in folders}


def test_blocks_kept_together_are_all_durable_or_all_refused(repo: Repo, folder: Path) -> None:
    blocks = [(cid_of_bytes(data), data) for data in (os.urandom(1000) for _ in range(20))]
    repo.blocks.put_all([*blocks, *blocks])
    assert (repo.blocks.used, repo.blocks.count) == (20_000, 20)
    assert all(repo.blocks.get(cid) == data for cid, data in blocks)
    repo.blocks.quota = 21_999
    more = [(cid_of_bytes(data), data) for data in (os.urandom(1000) for _ in range(2))]
    with pytest.raises(LimitExceeded):
        repo.blocks.put_all([*more, *blocks])
    assert (repo.blocks.used, repo.blocks.count) == (20_000, 20)
    assert len(list(folder.glob("blocks/*/*"))) == 20


def test_name_that_could_not_be_made_durable_is_taken_back(
    repo: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_folder: Path) -> None:
        raise OSError(errno.EIO, "the disk does not answer")

    monkeypatch.setattr(blocks_module, "sync_folder", fail)
    blocks = [(cid_of_bytes(data), data) for data in (os.urandom(1000) for _ in range(8))]
    with pytest.raises(OSError, match="does not answer"):
        repo.blocks.put_all(blocks)
    assert (repo.blocks.used, repo.blocks.count) == (0, 0)
    assert list(folder.glob("blocks/*/*")) == list((folder / "tmp").iterdir()) == []


def test_disk_that_fills_in_the_middle_of_a_batch_keeps_none_of_it(
    repo: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, left = os.fsync, [3]

    def fill(fd: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "disk full")
        sync(fd)

    monkeypatch.setattr(os, "fsync", fill)
    blocks = [(cid_of_bytes(data), data) for data in (os.urandom(1000) for _ in range(8))]
    with pytest.raises(LimitExceeded, match="no space is left"):
        repo.blocks.put_all(blocks)
    assert (repo.blocks.used, repo.blocks.count) == (0, 0)
    assert list(folder.glob("blocks/*/*")) == list((folder / "tmp").iterdir()) == []
    monkeypatch.setattr(os, "fsync", sync)
    repo.blocks.put_all(blocks)
    assert repo.blocks.count == 8


def test_failed_write_leaves_no_block_and_gives_its_quota_back(
    repo: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LimitExceeded, match="no space is left"):
            repo.put(cid_of_bytes(b"durable"), b"durable")
    assert [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == 7] == []
    assert (repo.blocks.used, repo.blocks.count) == (0, 0)


def test_second_process_on_one_folder_is_refused(node: NodeProcess, folder: Path) -> None:
    with start_node(folder), pytest.raises(NodeLocked, match=str(folder)):
        start_node(folder)
    with start_node(folder) as freed:
        assert freed.pid


def test_node_stops_cleanly_on_sigterm_and_with_its_parent(folder: Path) -> None:
    process = start_node(folder)
    os.kill(process.pid, signal.SIGTERM)
    assert process._process.wait(10) == 0
    process.stop()
    code = (
        "import os, sys, pathlib; from protocol.storage.node import start_node;"
        "node = start_node(pathlib.Path(sys.argv[1]));"
        "print(node.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    for _ in range(100):
        if not Path(f"/proc/{int(done.stdout)}").exists():
            break
        time.sleep(0.05)
    with start_node(folder) as after:
        assert after.pid != int(done.stdout)


def test_block_that_the_disk_spoilt_is_missing_not_wrong(repo: Repo, folder: Path) -> None:
    cid, _ = repo.add(io.BytesIO(b"precious"), pin=True, only_hash=False)
    next(folder.glob("blocks/*/*")).write_bytes(b"rotten!!")
    with pytest.raises(NotFound, match="damaged"):
        repo.blocks.get(cid)
    repo.put(cid, b"precious")
    assert repo.blocks.get(cid) == b"precious"


def test_pin_journal_survives_torn_and_foreign_lines(tmp_path: Path) -> None:
    now = [1000.0]
    path = tmp_path / "pins.journal"
    journal = PinJournal(path, lambda: now[0])
    one, two, three = (cid_of_bytes(bytes([n])) for n in range(3))
    journal.add(one)
    journal.add(two, expires_in=10)
    journal.add(three)
    assert journal.remove(three)
    assert not journal.remove(three)
    journal.close()
    with path.open("ab") as file:
        file.write(f'\n["{three}", nu'.encode())
    journal = PinJournal(path, lambda: now[0])
    assert journal.live() == {one: None, two: 1010.0}
    journal.add(one, expires_in=1)  # a shorter pin never replaces a longer one
    journal.add(two, expires_in=20)
    now[0] += 15
    assert journal.live() == {one: None, two: 1020.0}
    now[0] += 10
    assert journal.live() == {one: None}
    assert not journal.remove(two)
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system; the quota's tests run everywhere")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "gradproof-test", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_full_disk_is_a_clear_error_and_the_store_stays_healthy(small_disk: Path) -> None:
    data = os.urandom(5 * MIB)
    with start_node(small_disk / "store", grace=0) as node, open_store([node.api_url]) as store:
        kept = store.publish_bytes(data)
        with pytest.raises(StoreUnavailable, match=r"no space is left .*Unpin"):
            store.publish_bytes(os.urandom(25 * MIB))
        assert store.fetch_bytes(kept, len(data)) == data
        # What the failed upload left is collected when room is needed; what is pinned never.
        second = store.publish_bytes(os.urandom(10 * MIB))
        with pytest.raises(StoreUnavailable, match="no space is left"):
            store.publish_bytes(os.urandom(12 * MIB))
        store.unpin(second)
        store.publish_bytes(os.urandom(12 * MIB))
        assert store.fetch_bytes(kept, len(data)) == data


def test_disk_that_others_fill_to_the_last_byte_leaves_the_store_healthy(
    small_disk: Path,
) -> None:
    root = small_disk / "store"
    data = os.urandom(3 * MIB)
    with start_node(root, grace=0) as node, open_store([node.api_url]) as store:
        kept, other = store.publish_bytes(data), store.publish_bytes(os.urandom(MIB))
        filler = (small_disk / "filler").open("wb", buffering=0)
        with filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(StoreUnavailable, match="no space is left"):
            store.publish_bytes(os.urandom(MIB))
        assert store.fetch_bytes(kept, len(data)) == data
    # It also starts on the full disk.
    with start_node(root, grace=0) as node, open_store([node.api_url]) as store:
        assert store.fetch_bytes(kept, len(data)) == data
        assert set(call(node, "pin/ls")[0]["Keys"]) == {str(kept), str(other)}
        assert call(node, "repo/gc") == []
        (small_disk / "filler").unlink()
        fresh = store.publish_bytes(os.urandom(MIB))
        assert set(call(node, "pin/ls")[0]["Keys"]) == {str(kept), str(other), str(fresh)}
        stored = [path.stat().st_size for path in root.glob("blocks/*/*")]
        assert call(node, "repo/stat")[0]["RepoSize"] == sum(stored)
        assert list((root / "tmp").iterdir()) == []
