"""The embedded node: what it answers, and whom it refuses."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import ipfshttpclient
import psutil
import pytest

from protocol.storage.car import read_car_blocks, read_car_root, write_car
from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import (
    CidMismatch,
    LimitExceeded,
    NodeFailed,
)
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.node.repo import Repo
from protocol.storage.store import open_store
from protocol.storage.unixfs import Link, cid_of_bytes, encode_node
from tests.support.node_calls import ask, call, form

MIB = 1024 * 1024


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


def reaches(host: str, url: str) -> bool:
    try:
        socket.create_connection((host, urlsplit(url).port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_gateway_alone_listens_elsewhere(folder: Path) -> None:
    """127.0.0.2 stands for any other address of this machine."""
    with start_node(folder, gateway_host="0.0.0.0") as open_node:
        assert reaches("127.0.0.2", open_node.gateway_url)
        assert reaches("127.0.0.1", open_node.api_url)
        assert not reaches("127.0.0.2", open_node.api_url)
    with start_node(folder) as closed:
        assert reaches("127.0.0.1", closed.gateway_url)
        assert not reaches("127.0.0.2", closed.gateway_url)


def test_gateway_never_fetches_upstream(node: NodeProcess) -> None:
    """Asked for what it lacks, it says so at once, and its process has dialled nobody."""
    missing = cid_of_bytes(os.urandom(9))
    root = Cid.of_block(DAG_PB, encode_node([Link(missing, 9, 9)]))
    body, headers = form(encode_node([Link(missing, 9, 9)]))
    call(node, "block/put?cid-codec=dag-pb", body, **headers)
    own = {urlsplit(url).port for url in (node.api_url, node.gateway_url)}
    began = time.monotonic()
    for path in (f"/ipfs/{missing}?format=raw", f"/ipfs/{missing}?format=car"):
        assert ask(node.gateway_url, "GET", path)[0] == 404
        for connection in psutil.Process(node.pid).net_connections("inet"):
            assert connection.laddr.port in own, connection
    with pytest.raises(http.client.IncompleteRead):
        ask(node.gateway_url, "GET", f"/ipfs/{root}?format=car")
    assert time.monotonic() - began < 5
