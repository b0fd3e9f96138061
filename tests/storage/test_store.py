"""Round trips through a real embedded node, resuming, limits and fail-over."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ipfshttpclient
import pytest

from protocol.storage.cid import Cid
from protocol.storage.counters import Counters
from protocol.storage.errors import (
    CidMismatch,
    LimitExceeded,
    NotFound,
    StoreUnavailable,
)
from protocol.storage.node import NodeProcess
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import CidReader, Reader, cid_of_bytes, cid_of_file

MIB = 1024 * 1024
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 5 * MIB + 7]


@pytest.mark.parametrize("size", SIZES)
def test_publish_then_fetch_returns_the_same_file(
    store: ContentStore, tmp_path: Path, size: int
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.write_bytes(os.urandom(size))
    cid = store.publish(source)
    assert cid == cid_of_file(source)
    assert store.has(cid)
    store.fetch(cid, dest, limit=size)
    assert dest.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dest", "source"]
    assert store.fetch_bytes(cid, limit=size) == source.read_bytes()
    assert store.dropped == {}


@pytest.mark.parametrize("size", [2 * MIB + 1, 100])
def test_fetch_over_the_limit_is_refused_before_anything_is_written(
    store: ContentStore, tmp_path: Path, size: int
) -> None:
    cid = store.publish_bytes(os.urandom(size))
    with pytest.raises(LimitExceeded):
        store.fetch(cid, tmp_path / "dest", limit=size - 1)
    with pytest.raises(LimitExceeded):
        store.fetch_bytes(cid, limit=size - 1)
    assert list(tmp_path.iterdir()) == []


def test_gateway_alone_serves_what_the_node_holds(node: NodeProcess, store: ContentStore) -> None:
    data = os.urandom(2 * MIB + 5)
    cid = store.publish_bytes(data)
    with open_store([], [node.gateway_url]) as reader:
        assert reader.fetch_bytes(cid, len(data)) == data
        with pytest.raises(StoreUnavailable, match="GRADPROOF_IPFS_API"):
            reader.publish_bytes(b"x")


def test_missing_content_is_not_found(store: ContentStore, tmp_path: Path) -> None:
    cid = cid_of_bytes(os.urandom(10))
    assert not store.has(cid)
    with pytest.raises(NotFound, match=str(cid)):
        store.fetch(cid, tmp_path / "dest", limit=100)
    assert list(tmp_path.iterdir()) == []


def test_no_source_says_how_to_start_one(closed_port: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"python -m protocol\.storage\.node"):
        open_store([])
    with open_store([closed_port]) as store:
        with pytest.raises(StoreUnavailable, match=r"python -m protocol\.storage\.node"):
            store.publish_bytes(b"x")
        with pytest.raises(StoreUnavailable, match=closed_port):
            store.fetch(cid_of_bytes(b"x"), tmp_path / "dest", 10)
        with pytest.raises(StoreUnavailable):
            store.has(cid_of_bytes(b"x"))
        with pytest.raises(StoreUnavailable):
            store.unpin(cid_of_bytes(b"x"))


@pytest.mark.parametrize("address", ["ftp://host", "127.0.0.1:5001", "http://", "/ip4/nowhere"])
def test_malformed_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(StoreUnavailable):
        open_store([address])


def test_dead_sources_are_passed_over(
    node: NodeProcess, closed_port: str, store: ContentStore
) -> None:
    data = os.urandom(3 * MIB)
    with open_store([closed_port, node.api_url]) as both:
        cid = both.publish_bytes(data)
        both.pin(cid)
        assert both.has(cid)
        assert both.fetch_bytes(cid, len(data)) == data
        both.unpin(cid)
    with open_store([closed_port], [closed_port, node.gateway_url]) as last:
        assert last.fetch_bytes(cid, len(data)) == data


def test_multiaddr_and_url_name_the_same_node(node: NodeProcess, store: ContentStore) -> None:
    cid = store.publish_bytes(b"by either name")
    port = node.api_url.rsplit(":", 1)[1]
    for address in (f"/ip4/127.0.0.1/tcp/{port}", f"/dns4/localhost/tcp/{port}/http"):
        with open_store([address]) as other:
            assert other.fetch_bytes(cid, 100) == b"by either name"


def test_fetch_resumes_and_repairs_what_is_there(
    serve: Callable[..., str], honest: Callable[[bytes], dict[Cid, bytes]], tmp_path: Path
) -> None:
    data = os.urandom(4 * MIB + 9)
    blocks = honest(data)
    asked: list[Cid] = []

    def answer(request: object) -> None:
        asked.append(request.cid)
        request.send(blocks[request.cid])

    cid, dest = cid_of_bytes(data), tmp_path / "dest"
    left = bytearray(data[: 3 * MIB])
    left[MIB + 5] ^= 1
    (tmp_path / "dest.part").write_bytes(left)
    with open_store([serve(answer)]) as store:
        store.fetch(cid, dest, len(data))
    assert dest.read_bytes() == data
    # The root, the spoilt leaf, and the two that were missing.
    assert len(asked) == 4


FETCH = """
import sys
from pathlib import Path
from protocol.storage.cid import Cid
from protocol.storage.store import open_store

with open_store([sys.argv[1]]) as store:
    store.fetch(Cid.parse(sys.argv[2]), Path(sys.argv[3]), 1 << 30)
"""


def test_fetch_killed_at_half_refetches_only_what_was_missing(
    serve: Callable[..., str], honest: Callable[[bytes], dict[Cid, bytes]], tmp_path: Path
) -> None:
    data = os.urandom(40 * MIB + 3)
    blocks = honest(data)
    cid, part = cid_of_bytes(data), tmp_path / "dest.part"

    def answer(request: object) -> None:
        time.sleep(0.1)  # long enough to be caught in the middle
        request.send(blocks[request.cid])

    url = serve(answer)
    command = [sys.executable, "-c", FETCH, url, str(cid), str(tmp_path / "dest")]
    with subprocess.Popen(command) as process:
        while not part.exists() or part.stat().st_blocks * 512 < len(data) // 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        process.kill()
    left = part.read_bytes()
    starts = range(0, len(data), MIB)
    missing = sum(len(data[n : n + MIB]) for n in starts if left[n : n + MIB] != data[n : n + MIB])
    assert 0 < missing < len(data)
    counters, heard = Counters(), []
    with open_store([url], counters=counters) as store:
        store.fetch(cid, tmp_path / "dest", len(data), progress=lambda *told: heard.append(told))
    assert (tmp_path / "dest").read_bytes() == data
    totals = counters.totals()
    assert totals["fetched_bytes"] <= 1.01 * missing
    assert totals["resumed_bytes"] == len(data) - missing
    assert heard[0] == (0, len(data))
    assert heard[-1] == (len(data), len(data))


def test_longer_part_file_does_not_leave_a_tail(store: ContentStore, tmp_path: Path) -> None:
    data = os.urandom(MIB + 1)
    cid = store.publish_bytes(data)
    (tmp_path / "dest.part").write_bytes(os.urandom(3 * MIB))
    store.fetch(cid, tmp_path / "dest", len(data))
    assert (tmp_path / "dest").read_bytes() == data


def test_part_file_that_is_a_link_is_refused(store: ContentStore, tmp_path: Path) -> None:
    cid = store.publish_bytes(b"content")
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "dest.part").symlink_to(victim)
    with pytest.raises(CidMismatch):
        store.fetch(cid, tmp_path / "dest", 100)
    assert victim.read_bytes() == b"mine"


def test_fetch_over_an_existing_file_replaces_it_only_when_it_differs(
    store: ContentStore, tmp_path: Path
) -> None:
    cid = store.publish_bytes(b"right")
    dest = tmp_path / "dest"
    dest.write_bytes(b"wrong")
    store.fetch(cid, dest, 100)
    assert dest.read_bytes() == b"right"
    before = dest.stat()
    store.fetch(cid, dest, 100)
    assert dest.stat().st_ino == before.st_ino


def test_parallel_fetches_to_one_place_end_in_one_whole_file(
    store: ContentStore, tmp_path: Path
) -> None:
    data = os.urandom(3 * MIB + 1)
    cid = store.publish_bytes(data)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            store.fetch(cid, tmp_path / "dest", len(data))
        except BaseException as error:  # noqa: BLE001 -- reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == ["dest"]
    assert (tmp_path / "dest").read_bytes() == data


# The library's own session, which ours replaces, passes an option that urllib3 2 warns about.
@pytest.mark.filterwarnings("ignore:The 'strict' parameter:FutureWarning")
def test_daemon_that_cuts_files_its_own_way_gets_our_blocks(
    node: NodeProcess, store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real `dag/import`: only the answer of `add` is made to look like an old daemon's."""
    from protocol.storage.sources import ApiSource

    data = os.urandom(2 * MIB + 3)
    cid = cid_of_bytes(data)
    add = ApiSource._add

    def cut_differently(source: ApiSource, stream: Reader) -> str:
        add(source, stream)
        return str(cid_of_bytes(b"as version 0 would"))

    monkeypatch.setattr(ApiSource, "_add", cut_differently)
    assert store.publish_bytes(data) == cid
    assert store.fetch_bytes(cid, len(data)) == data
    with ipfshttpclient.Client(f"/ip4/127.0.0.1/tcp/{node.api_url.rsplit(':', 1)[1]}") as client:
        pins = client.pin.ls(str(cid))
        assert pins["Keys"] == {str(cid): {"Type": "recursive"}}


def test_file_that_changes_while_it_is_published_is_refused(
    store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that cuts it differently is sent it twice, and must get the same."""
    from protocol.storage.sources import ApiSource

    path = tmp_path / "file"
    path.write_bytes(b"before")
    add = ApiSource._add

    def then_change(source: ApiSource, stream: Reader) -> str:
        add(source, stream)
        path.write_bytes(b"after")
        return str(cid_of_bytes(b"as version 0 would"))

    monkeypatch.setattr(ApiSource, "_add", then_change)
    with pytest.raises(CidMismatch, match="changed"):
        store.publish(path)


def test_file_that_grows_while_it_is_published_is_named_by_what_was_sent(
    store: ContentStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2 * MIB))
    grown = []

    def grow(done: int, _size: int) -> None:
        if done > MIB and not grown:
            grown.append(done)
            with path.open("ab") as file:
                file.write(b"more")

    cid = store.publish(path, progress=grow)
    assert cid == cid_of_file(path)
    assert store.fetch_bytes(cid, 3 * MIB) == path.read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_stream_read_through_has_the_cid_of_its_bytes(size: int) -> None:
    data = os.urandom(size)
    reader = CidReader(io.BytesIO(data))
    read = bytearray()
    while piece := reader.read(300_007):
        read += piece
    assert (bytes(read), reader.cid()) == (data, cid_of_bytes(data))


def test_pin_and_unpin_are_idempotent(store: ContentStore) -> None:
    cid = store.publish_bytes(b"kept")
    store.pin(cid)
    store.pin(cid, expires_in=60)
    store.unpin(cid)
    store.unpin(cid)
    with pytest.raises(StoreUnavailable):
        store.pin(cid_of_bytes(os.urandom(9)))


def test_importing_the_package_loads_no_client() -> None:
    code = (
        "import sys, protocol.storage, protocol.storage.node;"
        "print([m for m in ('ipfshttpclient', 'requests', 'http.server') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
