"""Real IPFS: what our node serves, real Kubo passes on over bitswap and reads, and the other way.

Two Kubo nodes, each a process of its own, speak libp2p over loopback. Ours speaks no bitswap, so
its blocks enter the first Kubo's block store; from there on everything is Kubo's own code.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from protocol.storage.cid import Cid
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.node.repo import Repo
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import blocks_of_stream
from tests.support.kubo_library import Kubo, why_missing

pytestmark = pytest.mark.skipif(why_missing() is not None, reason=str(why_missing()))

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kubo, Kubo]]:
    folder = tmp_path_factory.mktemp("kubos")
    with Kubo(folder / "server") as server, Kubo(folder / "reader") as reader:
        reader.connect(server)
        yield server, reader


def take_over(node: NodeProcess, path: Path, kubo: Kubo) -> dict[Cid, bytes]:
    """Bring the blocks of a file from our node's gateway into Kubo's block store."""
    with path.open("rb") as stream:
        cids = [cid for cid, _ in blocks_of_stream(stream)]
    blocks = {}
    connection = http.client.HTTPConnection(urlsplit(node.gateway_url).netloc, timeout=10)
    for cid in cids:
        connection.request("GET", f"/ipfs/{cid}?format=raw")
        blocks[cid] = connection.getresponse().read()
        assert cid.matches(blocks[cid])
        kubo.hold(cid.digest, blocks[cid])
    connection.close()
    return blocks


def test_kubo_serves_kubo_over_bitswap(pair: tuple[Kubo, Kubo], tmp_path: Path) -> None:
    server, reader = pair
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2 * MIB + 1))
    digest = server.add(path)[2:]
    root = Cid(0x70, digest)
    assert not reader.block_path(digest).exists()
    assert reader.download(str(root), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    assert reader.block_path(digest).exists()


@pytest.mark.parametrize("size", [1, MIB - 1, MIB, MIB + 1, 5 * MIB + 17])
def test_kubo_reads_what_our_node_serves(
    pair: tuple[Kubo, Kubo], node: NodeProcess, store: ContentStore, tmp_path: Path, size: int
) -> None:
    server, reader = pair
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    cid = store.publish(path)
    blocks = take_over(node, path, server)
    assert not any(reader.block_path(one.digest).exists() for one in blocks)
    assert reader.download(str(cid), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    for one, block in blocks.items():
        assert reader.block_path(one.digest).read_bytes() == block


def test_our_node_takes_up_what_came_over_bitswap(
    pair: tuple[Kubo, Kubo],
    node: NodeProcess,
    store: ContentStore,
    tmp_path: Path,
    folder: Path,
) -> None:
    """A second node of ours knows only the CID and the blocks that the reading Kubo received."""
    server, reader = pair
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * MIB + 5))
    cid = store.publish(path)
    for one in take_over(node, path, server):
        assert not reader.block_path(one.digest).exists()
    assert reader.download(str(cid), tmp_path / "copy")
    received = {path.stem: path.read_bytes() for path in reader.repo.glob("blocks/*/*.data")}
    repo = Repo(folder)
    for block in received.values():
        for codec in (0x55, 0x70):
            repo.put(Cid.of_block(codec, block), block)
    repo.pin(cid)
    repo.close()
    with start_node(folder) as second, open_store([second.api_url]) as other:
        other.fetch(cid, tmp_path / "ours", path.stat().st_size)
    assert (tmp_path / "ours").read_bytes() == path.read_bytes()


def test_our_gateway_is_read_through_a_real_libp2p_stream(
    pair: tuple[Kubo, Kubo], node: NodeProcess, store: ContentStore
) -> None:
    """One Kubo exposes our gateway to its peers, the other brings it to a local port."""
    server, reader = pair
    data = os.urandom(4 * MIB + 3)
    cid = store.publish_bytes(data)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inside = f"/ip4/127.0.0.1/tcp/{urlsplit(node.gateway_url).port}"
    outside = f"/ip4/127.0.0.1/tcp/{port}"
    assert server.call("P2PListen", str(server.repo), "/x/gradproof", inside) == 1
    assert reader.call("P2PForward", str(reader.repo), "/x/gradproof", outside, server.peer) == 1
    with open_store([], [f"http://127.0.0.1:{port}"]) as far:
        assert far.fetch_bytes(cid, len(data)) == data
        assert far.dropped == {}
