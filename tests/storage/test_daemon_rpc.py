"""One suite for every daemon the store may stand on: the embedded node, and Kubo by its RPC.

Kubo runs where its binary is found, in `GRADPROOF_KUBO` or as `ipfs` on the path: `make test-kubo`.
It is written against the RPC that Kubo 0.43 documents, and keeps to loopback.

Source: https://docs.ipfs.tech/reference/kubo/rpc/
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest

from protocol.storage.cid import Cid
from protocol.storage.errors import NotFound
from protocol.storage.node import start_node
from protocol.storage.sources import ApiSource
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import Reader, blocks_of_stream, cid_of_bytes

MIB = 1024 * 1024
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """Where one answers."""

    api_url: str
    gateway_url: str


def kubo_binary() -> str | None:
    return os.environ.get("GRADPROOF_KUBO") or shutil.which("ipfs")


def kubo_config(path: Path) -> None:
    """Keep the daemon to itself: free loopback ports, no peers, nothing from the network."""
    config = json.loads(path.read_text())
    config["Addresses"] |= {
        "API": "/ip4/127.0.0.1/tcp/0",
        "Gateway": "/ip4/127.0.0.1/tcp/0",
        "Swarm": ["/ip4/127.0.0.1/tcp/0"],
    }
    config["Bootstrap"] = []
    config["Discovery"] = {"MDNS": {"Enabled": False}}
    config["Routing"] = {"Type": "none"}
    # From 0.37 on, defaults are the word "auto", which AutoConf would look up.
    config["AutoConf"] = {"Enabled": False}
    config["DNS"] = {"Resolvers": {}}
    config["Ipns"] = {**config.get("Ipns", {}), "DelegatedPublishers": []}
    config["AutoTLS"] = {"Enabled": False}
    path.write_text(json.dumps(config))


def url_of(multiaddr: str) -> str:
    _, _, host, _, port, *_ = multiaddr.strip().split("/")
    return f"http://{host}:{port}"


def start_kubo(binary: str, repo: Path, log: Path) -> Iterator[Daemon]:
    environment = {**os.environ, "IPFS_PATH": str(repo), "IPFS_TELEMETRY": "off"}
    init = [binary, "init"]
    subprocess.run(init, env=environment, check=True, capture_output=True, timeout=60)
    kubo_config(repo / "config")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binary, "daemon"], env=environment, stdout=output, stderr=output
        )
    try:
        addresses = [repo / "api", repo / "gateway"]
        end = time.monotonic() + START_SECONDS
        while not all(path.exists() and path.read_text().strip() for path in addresses):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        api, gateway = (path.read_text() for path in addresses)
        yield Daemon(url_of(api), gateway if gateway.startswith("http") else url_of(gateway))
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module", params=["embedded", "kubo"])
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    if request.param == "embedded":
        with start_node(folder / "node", grace=0) as node:
            yield Daemon(node.api_url, node.gateway_url)
        return
    binary = kubo_binary()
    if binary is None:
        pytest.skip("no ipfs binary: put Kubo's on PATH or name it in GRADPROOF_KUBO")
    yield from start_kubo(binary, folder / "kubo", folder / "log")


@pytest.fixture
def store(daemon: Daemon) -> Iterator[ContentStore]:
    with open_store([daemon.api_url], block_seconds=5) as opened:
        yield opened


def ask(daemon: Daemon, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(daemon.api_url).netloc, timeout=30)
    try:
        connection.request(method, f"/api/v0/{path}", headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def pins(daemon: Daemon) -> set[str]:
    status, body = ask(daemon, "POST", "pin/ls?type=recursive")
    assert status == 200, body
    return set(json.loads(body).get("Keys") or {})


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
def test_daemon_agrees_on_the_cid_and_gives_the_file_back(
    daemon: Daemon, store: ContentStore, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    cid = store.publish(path)
    assert str(cid) in pins(daemon)
    assert store.has(cid)
    store.fetch(cid, tmp_path / "copy", size)
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    assert store.dropped == {}


def test_daemon_that_takes_a_file_by_add_needs_no_car(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import options are understood: nothing is left for the second way."""

    def unexpected(*_: object) -> None:
        raise AssertionError("the daemon cut the file in another way")

    monkeypatch.setattr(ApiSource, "_import_blocks", unexpected)
    with open_store([daemon.api_url]) as store:
        store.publish_bytes(os.urandom(2 * MIB + 9))


def test_daemon_takes_our_blocks_as_a_car_and_pins_their_root(
    daemon: Daemon, store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[Cid] = []
    send = ApiSource._import_blocks

    def cut_differently(_source: ApiSource, stream: Reader) -> str:
        while stream.read(MIB):
            pass
        return str(cid_of_bytes(b"as version 0 would"))

    def watch(source: ApiSource, stream: BinaryIO, cid: Cid) -> None:
        imported.append(cid)
        send(source, stream, cid)

    monkeypatch.setattr(ApiSource, "_add", cut_differently)
    monkeypatch.setattr(ApiSource, "_import_blocks", watch)
    data = os.urandom(3 * MIB + 1)
    cid = store.publish_bytes(data)
    assert imported == [cid] == [cid_of_bytes(data)]
    assert str(cid) in pins(daemon)
    assert store.fetch_bytes(cid, len(data)) == data


def test_every_block_of_the_daemon_is_ours(
    daemon: Daemon, store: ContentStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2 * MIB + 1))
    store.publish(path)
    with path.open("rb") as stream:
        for cid, block in blocks_of_stream(stream):
            assert ask(daemon, "POST", f"block/get?arg={cid}") == (200, block)


def test_gateway_of_the_daemon_serves_blocks(daemon: Daemon, store: ContentStore) -> None:
    data = os.urandom(2 * MIB + 7)
    cid = store.publish_bytes(data)
    with open_store([], [daemon.gateway_url]) as reader:
        assert reader.fetch_bytes(cid, len(data)) == data


def test_unpinned_content_goes_with_the_next_collection(
    daemon: Daemon, store: ContentStore
) -> None:
    kept, loose = store.publish_bytes(os.urandom(MIB + 1)), store.publish_bytes(os.urandom(MIB + 2))
    store.pin(loose)
    store.unpin(loose)
    store.unpin(loose)
    assert str(loose) not in pins(daemon)
    assert ask(daemon, "POST", "repo/gc")[0] == 200
    assert store.has(kept)
    assert not store.has(loose)


def test_missing_block_is_not_found_in_time(store: ContentStore) -> None:
    began = time.monotonic()
    missing = cid_of_bytes(os.urandom(100))
    assert not store.has(missing)
    with pytest.raises(NotFound, match=str(missing)):
        store.fetch_bytes(missing, 100)
    assert time.monotonic() - began < 15


def test_daemon_refuses_web_pages_and_get(daemon: Daemon) -> None:
    assert ask(daemon, "GET", "version")[0] == 405
    assert ask(daemon, "POST", "version", Origin="http://evil.example")[0] == 403
    assert ask(daemon, "POST", "version")[0] == 200


def test_resumed_fetch_asks_the_daemon_for_what_is_missing(
    store: ContentStore, tmp_path: Path
) -> None:
    data = os.urandom(4 * MIB)
    cid: Cid = store.publish_bytes(data)
    (tmp_path / "dest.part").write_bytes(data[: 2 * MIB] + bytes(MIB))
    store.fetch(cid, tmp_path / "dest", len(data))
    assert (tmp_path / "dest").read_bytes() == data
