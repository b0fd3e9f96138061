"""The embedded node: durability, quota, pins, collection, and whom it refuses."""

from __future__ import annotations

import errno
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import ipfshttpclient
import pytest

from protocol.storage.car import read_car_blocks, read_car_root, write_car
from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import (
    CidMismatch,
    LimitExceeded,
    NodeFailed,
    NodeLocked,
    NotFound,
    StoreUnavailable,
)
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.node.pins import PinJournal
from protocol.storage.node.repo import Repo
from protocol.storage.store import open_store
from protocol.storage.unixfs import blocks_of_stream, cid_of_bytes, encode_node

MIB = 1024 * 1024


@pytest.fixture
def repo(folder: Path) -> Iterator[Repo]:
    opened = Repo(folder, quota=64 * MIB, grace=0.0)
    yield opened
    opened.close()


def ask(
    url: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        connection.close()


def call(node: NodeProcess, command: str, body: bytes = b"", **headers: str) -> list[object]:
    status, _, content = ask(node.api_url, "POST", f"/api/v0/{command}", body, **headers)
    assert status == 200, content
    return [json.loads(line) for line in content.splitlines()]


def form(data: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="../../x"\r\n\r\n'
    return head + data + b"\r\n--XX--\r\n", {"Content_Type": "multipart/form-data; boundary=XX"}


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


def test_block_gets_its_name_only_once_its_bytes_are_synced(
    repo: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut would show: the named file is the one synced, its folder after it."""
    synced: list[tuple[int, bool]] = []
    sync = os.fsync

    def watch(fd: int) -> None:
        synced.append((os.fstat(fd).st_ino, any(folder.glob("blocks/*/*"))))
        sync(fd)

    monkeypatch.setattr(os, "fsync", watch)
    repo.put(cid_of_bytes(b"durable"), b"durable")
    path = next(folder.glob("blocks/*/*"))
    assert synced == [
        (path.stat().st_ino, False),
        (path.parent.stat().st_ino, True),
        (path.parent.parent.stat().st_ino, True),
    ]


def test_failed_write_leaves_no_block_and_gives_its_quota_back(
    repo: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
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


def test_taken_port_and_foreign_host_are_refused(node: NodeProcess, folder: Path) -> None:
    with pytest.raises(NodeFailed, match="in use"):
        start_node(folder, int(node.api_url.rsplit(":", 1)[1]))
    done = subprocess.run(
        [sys.executable, "-m", "protocol.storage.node", "--root", folder, "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "loopback" in done.stderr


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_rpc_answers_only_post(node: NodeProcess, method: str) -> None:
    assert ask(node.api_url, method, "/api/v0/version")[0] == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:5001"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Host": "10.0.0.1:5001"},
    ],
)
def test_rpc_refuses_web_pages_and_rebound_names(
    node: NodeProcess, headers: dict[str, str]
) -> None:
    status, _, content = ask(node.api_url, "POST", "/api/v0/version", **headers)
    assert status in (400, 403)
    assert json.loads(content)["Type"] == "error"
    assert ask(node.api_url, "POST", "/api/v0/version")[0] == 200


# The library's own session, which ours replaces, passes an option that urllib3 2 warns about.
@pytest.mark.filterwarnings("ignore:The 'strict' parameter:FutureWarning")
def test_plain_client_takes_the_node_for_a_daemon_it_knows(node: NodeProcess) -> None:
    from ipfshttpclient.client import assert_version

    assert_version(call(node, "version")[0]["Version"])
    data = os.urandom(MIB + 9)
    address = f"/ip4/127.0.0.1/tcp/{urlsplit(node.api_url).port}"
    with ipfshttpclient.Client(address) as client:
        cid = client.add_bytes(data)
        assert cid == str(cid_of_bytes(data))
        assert client.cat(cid) == data
        assert client.cat(cid, offset=MIB - 2, length=5) == data[MIB - 2 : MIB + 3]
        assert client.id()["AgentVersion"].startswith("gradproof-node")
        links = client.ls(cid)["Objects"][0]["Links"]
        assert [link["Hash"] for link in links] == [
            str(cid_of_bytes(data[:MIB])),
            str(cid_of_bytes(data[MIB:])),
        ]
        refs = client.unstable.refs(cid, opts={"recursive": "true"})
        assert [ref["Ref"] for ref in refs] == [link["Hash"] for link in links]
        car = client.dag.export(cid)
        assert client.dag.imprt(io.BytesIO(car))["Root"]["Cid"]["/"] == cid
        put = client.block.put(io.BytesIO(b"block"))
        assert put["Key"] == str(cid_of_bytes(b"block"))
        assert client.block.get(put["Key"]) == b"block"
        assert client.block.stat(put["Key"])["Size"] == 5
        with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="not found locally"):
            client.block.get(str(cid_of_bytes(os.urandom(8))))


def test_add_refuses_options_it_would_have_to_ignore(node: NodeProcess) -> None:
    body, headers = form(b"x")
    for option in ("cid-version=0", "chunker=size-262144", "raw-leaves=false", "trickle=true"):
        path = f"/api/v0/add?{option}"
        assert ask(node.api_url, "POST", path, body, **headers)[0] == 400
    only = call(node, "add?only-hash=true", *[body], **headers)[0]["Hash"]
    assert only == str(cid_of_bytes(b"x"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v0/",
        "/api/v0/config/show",
        "/api/v0/files/write",
        "/api/v0/../../etc/passwd",
        "/api/v0/block/get",
        "/api/v0/block/get?arg=../../../../etc/passwd",
        "/api/v0/block/get?arg=%00",
        "/api/v0/cat?arg=bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku&offset=-1",
        "/api/v0/pin/add?arg=bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku&expires-in=x",
        "/api/v0/version?" + "&".join(["a=b"] * 100),
        "/api/v0/add",
    ],
)
def test_rpc_answers_nonsense_with_an_error(node: NodeProcess, path: str) -> None:
    status, _, content = ask(node.api_url, "POST", path)
    assert status in (400, 404, 500)
    assert json.loads(content)["Message"]


def test_gateway_serves_blocks_and_dags_and_nothing_else(node: NodeProcess) -> None:
    data = os.urandom(2 * MIB + 1)
    with open_store([node.api_url]) as store:
        cid = store.publish_bytes(data)
    gateway = node.gateway_url
    status, headers, block = ask(gateway, "GET", f"/ipfs/{cid}?format=raw")
    assert status == 200
    assert cid.matches(block)
    assert headers["Content-Type"] == "application/vnd.ipld.raw"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"].startswith("attachment")
    assert "immutable" in headers["Cache-Control"]
    status, headers, empty = ask(gateway, "HEAD", f"/ipfs/{cid}?format=raw")
    assert (status, headers["Content-Length"], empty) == (200, str(len(block)), b"")
    status, _, car = ask(gateway, "GET", f"/ipfs/{cid}", Accept="application/vnd.ipld.car")
    stream = io.BytesIO(car)
    assert read_car_root(stream) == cid
    leaves = [block for name, block in read_car_blocks(stream) if name.codec == RAW]
    assert b"".join(leaves) == data
    unknown = cid_of_bytes(os.urandom(5))
    for path, expected in (
        (f"/ipfs/{cid}", 400),
        (f"/ipfs/{cid}?format=tar", 400),
        (f"/ipfs/{cid}/name?format=raw", 400),
        ("/ipfs/../pins.journal?format=raw", 400),
        ("/", 400),
        ("/api/v0/version", 400),
        (f"/ipfs/{unknown}?format=raw", 404),
        (f"/ipfs/{unknown}?format=car", 404),
    ):
        assert ask(gateway, "GET", path)[0] == expected, path
    for method in ("POST", "PUT", "DELETE"):
        assert ask(gateway, method, f"/ipfs/{cid}?format=raw")[0] == 405


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


def test_block_that_the_disk_spoilt_is_missing_not_wrong(repo: Repo, folder: Path) -> None:
    cid, _ = repo.add(io.BytesIO(b"precious"), pin=True, only_hash=False)
    next(folder.glob("blocks/*/*")).write_bytes(b"rotten!!")
    with pytest.raises(NotFound, match="damaged"):
        repo.blocks.get(cid)
    repo.put(cid, b"precious")
    assert repo.blocks.get(cid) == b"precious"


def test_wrong_or_fat_block_is_refused(repo: Repo) -> None:
    with pytest.raises(CidMismatch):
        repo.put(cid_of_bytes(b"a"), b"b")
    fat = bytes(2 * MIB + 1)
    with pytest.raises(LimitExceeded):
        repo.put(Cid.of_block(RAW, fat), fat)
    assert repo.blocks.count == 0


def test_names_inside_a_dag_become_no_paths(repo: Repo, folder: Path) -> None:
    """A folder block whose entry is called `../../../escaped` is just bytes here."""
    leaf = cid_of_bytes(b"payload")
    link = b"\x0a\x24" + bytes(leaf) + b"\x12\x10../../../escaped" + b"\x18\x07"
    block = b"\x12" + bytes([len(link)]) + link + b"\x0a\x02\x08\x01"
    root = Cid.of_block(DAG_PB, block)
    car = b"".join(write_car(root, [(leaf, b"payload"), (root, block)]))
    assert repo.import_car(io.BytesIO(car), pin=True) == root
    assert list(repo.walk(root)) == [root, leaf]
    assert not list(folder.parent.rglob("escaped"))
    with pytest.raises(CidMismatch):
        list(repo.read(root))


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


def test_broken_upload_leaves_the_connection_and_the_node_usable(node: NodeProcess) -> None:
    address = urlsplit(node.api_url)
    connection = http.client.HTTPConnection(address.netloc, timeout=5)
    body, headers = form(os.urandom(100_000))
    connection.putrequest("POST", "/api/v0/add")
    connection.putheader("Content-Type", headers["Content_Type"])
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:50_000])
    connection.close()
    assert call(node, "version")


def test_inner_node_of_nothing_is_no_file(repo: Repo) -> None:
    block = encode_node([])
    cid = Cid.of_block(DAG_PB, block)
    repo.put(cid, block)
    with pytest.raises(CidMismatch):
        list(repo.read(cid))
