"""Sources that lie, stall, redirect, inflate and break off, against the real client."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import (
    BlockRejected,
    CidMismatch,
    LimitExceeded,
    StoreUnavailable,
)
from protocol.storage.store import open_store
from protocol.storage.unixfs import Link, cid_of_bytes, encode_node

MIB = 1024 * 1024
DATA = os.urandom(3 * MIB + 11)
ROOT = cid_of_bytes(DATA)

Serve = Callable[[Callable[[Any], None]], str]
Honest = Callable[[bytes], dict[Cid, bytes]]


def truncated(request: Any, block: bytes) -> None:
    request.send(block[: len(block) // 2])


def truncated_on_the_wire(request: Any, block: bytes) -> None:
    request.send(block[:-1], Content_Length=str(len(block)))
    request.close_connection = True


def flipped(request: Any, block: bytes) -> None:
    request.send(block[:-1] + bytes([block[-1] ^ 1]))


def another_block(request: Any, block: bytes) -> None:
    request.send(b"something else of no use")


def oversize(request: Any, block: bytes) -> None:
    request.send(block + bytes(3 * MIB))


def endless(request: Any, block: bytes) -> None:
    request.send_response(200)
    request.send_header("Connection", "close")
    request.end_headers()
    while True:
        request.wfile.write(bytes(MIB))


def gzip_bomb(request: Any, block: bytes) -> None:
    request.send(gzip.compress(bytes(64 * MIB)), Content_Encoding="gzip")


def honest_but_gzipped(request: Any, block: bytes) -> None:
    request.send(gzip.compress(block), Content_Encoding="gzip")


def redirect(request: Any, block: bytes) -> None:
    request.send(b"", status=302, Location="http://169.254.169.254/latest/meta-data/")


def server_error(request: Any, block: bytes) -> None:
    request.send(b'{"Message": ["not", "text"]', status=500)


def huge_error(request: Any, block: bytes) -> None:
    request.send(b'{"Message": "' + bytes(4 * MIB) + b'"}', status=500)


def nested_error(request: Any, block: bytes) -> None:
    request.send(b"[" * 60_000, status=500)


def hang_up(request: Any, block: bytes) -> None:
    request.close_connection = True


def no_http(request: Any, block: bytes) -> None:
    request.wfile.write(b"\x00\xff" * 100)
    request.close_connection = True


LIES = [flipped, truncated, another_block, oversize, endless]
REFUSALS = [gzip_bomb, honest_but_gzipped, redirect]
FAILURES = [truncated_on_the_wire, server_error, nested_error, hang_up, no_http]


@pytest.mark.parametrize("attack", [*LIES, *REFUSALS, *FAILURES, huge_error])
@pytest.mark.parametrize("kind", ["api", "gateway"])
def test_bad_source_costs_nothing_but_itself(
    serve: Serve, honest: Honest, tmp_path: Path, attack: Callable[..., None], kind: str
) -> None:
    """With an honest source beside it, the file arrives whole."""
    blocks = honest(DATA)
    bad = serve(lambda request: attack(request, blocks[request.cid]))
    good = serve(lambda request: request.send(blocks[request.cid]))
    apis, gateways = ([bad, good], []) if kind == "api" else ([], [bad, good])
    with open_store(apis, gateways) as store:
        store.fetch(ROOT, tmp_path / "dest", len(DATA))
        assert (tmp_path / "dest").read_bytes() == DATA
        assert good not in store.dropped
        if attack in (*LIES, *REFUSALS):
            assert list(store.dropped) == [bad]


@pytest.mark.parametrize("attack", [*LIES, *REFUSALS])
@pytest.mark.parametrize("kind", ["api", "gateway"])
def test_liar_alone_is_named_and_never_asked_again(
    serve: Serve, honest: Honest, tmp_path: Path, attack: Callable[..., None], kind: str
) -> None:
    blocks = honest(DATA)
    asked = []

    def answer(request: Any) -> None:
        asked.append(request.cid)
        attack(request, blocks[request.cid])

    bad = serve(answer)
    apis, gateways = ([bad], []) if kind == "api" else ([], [bad])
    with open_store(apis, gateways) as store:
        with pytest.raises(BlockRejected, match=bad) as caught:
            store.fetch(ROOT, tmp_path / "dest", len(DATA))
        assert caught.value.source == bad
        assert caught.value.cid == ROOT
        with pytest.raises(BlockRejected):
            store.fetch_bytes(ROOT, len(DATA))
    assert asked == [ROOT]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("attack", FAILURES)
def test_broken_source_alone_is_unavailable(
    serve: Serve, honest: Honest, tmp_path: Path, attack: Callable[..., None]
) -> None:
    blocks = honest(DATA)
    bad = serve(lambda request: attack(request, blocks[request.cid]))
    with open_store([], [bad]) as store, pytest.raises(StoreUnavailable, match=bad):
        store.fetch(ROOT, tmp_path / "dest", len(DATA))
    assert list(tmp_path.iterdir()) == []


def drip(request: Any, block: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(block)))
    request.end_headers()
    for byte in block[:200]:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.05)


def drip_headers(request: Any, block: bytes) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(200):
        request.wfile.write(b"a")
        request.wfile.flush()
        time.sleep(0.05)


def silent(request: Any, block: bytes) -> None:
    time.sleep(10)


@pytest.mark.parametrize("attack", [drip, drip_headers, silent])
def test_stalling_source_is_passed_over_in_time(
    serve: Serve, honest: Honest, attack: Callable[..., None]
) -> None:
    blocks = honest(DATA)
    bad = serve(lambda request: attack(request, blocks[request.cid]))
    good = serve(lambda request: request.send(blocks[request.cid]))
    began = time.monotonic()
    with open_store([bad], [good], block_seconds=0.4) as store:
        assert store.fetch_bytes(ROOT, len(DATA)) == DATA
    assert time.monotonic() - began < 5


def test_whole_fetch_keeps_its_deadline(serve: Serve, honest: Honest) -> None:
    blocks = honest(DATA)

    def slow(request: Any) -> None:
        time.sleep(0.3)
        request.send(blocks[request.cid])

    began = time.monotonic()
    with open_store([], [serve(slow)], window=1) as store, pytest.raises(StoreUnavailable):
        store.fetch_bytes(ROOT, len(DATA), timeout=0.5)
    assert time.monotonic() - began < 2


def test_liar_in_the_middle_leaves_verified_blocks_to_resume_from(
    serve: Serve, honest: Honest, tmp_path: Path
) -> None:
    blocks = honest(DATA)
    last = cid_of_bytes(DATA[3 * MIB :])
    asked: list[Cid] = []

    def lie_last(request: Any) -> None:
        request.send(b"lie" if request.cid == last else blocks[request.cid])

    def answer(request: Any) -> None:
        asked.append(request.cid)
        request.send(blocks[request.cid])

    with open_store([serve(lie_last)], window=1) as store, pytest.raises(BlockRejected):
        store.fetch(ROOT, tmp_path / "dest", len(DATA))
    assert not (tmp_path / "dest").exists()
    with open_store([serve(answer)]) as store:
        store.fetch(ROOT, tmp_path / "dest", len(DATA))
    assert (tmp_path / "dest").read_bytes() == DATA
    assert asked == [ROOT, last]


def leaf(data: bytes) -> Link:
    return Link(Cid.of_block(RAW, data), len(data), len(data))


def named(block: bytes) -> Cid:
    return Cid.of_block(DAG_PB, block)


def huge_claim() -> dict[Cid, bytes]:
    """A root of a hundred bytes that claims an exabyte."""
    block = encode_node([Link(leaf(b"x").cid, 2**60, 2**60)])
    return {named(block): block}


def wrong_sizes() -> dict[Cid, bytes]:
    """Leaves that are shorter than the node says."""
    first, second = bytes(MIB), b"tail"
    block = encode_node([leaf(first), Link(leaf(second).cid, 5, 5)])
    return {leaf(first).cid: first, leaf(second).cid: second, named(block): block}


def needless_depth() -> dict[Cid, bytes]:
    """A chain of nodes with one child each, as deep as the server likes."""
    blocks, link = {leaf(b"x").cid: b"x"}, leaf(b"x")
    for _ in range(50):
        block = encode_node([link])
        link = Link(named(block), link.size, link.total + len(block))
        blocks[link.cid] = block
    return blocks


def shared_leaf() -> dict[Cid, bytes]:
    """A small DAG that unfolds to much: every link is the same subtree (a billion-laughs bomb)."""
    block = encode_node([leaf(bytes(MIB))] * 1024)
    top = Link(named(block), 1024 * MIB, 1024 * MIB + len(block))
    root = encode_node([top] * 1024)
    return {leaf(bytes(MIB)).cid: bytes(MIB), top.cid: block, named(root): root}


def smaller_chunks() -> dict[Cid, bytes]:
    """An honest file, but cut in another profile: its CID does not follow from its bytes."""
    parts = [bytes(256 * 1024), b"tail"]
    block = encode_node([leaf(part) for part in parts])
    return {**{leaf(part).cid: part for part in parts}, named(block): block}


def folder() -> dict[Cid, bytes]:
    block = b"\x0a\x02\x08\x01"
    return {named(block): block}


def not_protobuf() -> dict[Cid, bytes]:
    block = b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    return {named(block): block}


def fat_leaf() -> dict[Cid, bytes]:
    """A raw block within the transport limit, but longer than a chunk."""
    return {leaf(bytes(MIB + 1)).cid: bytes(MIB + 1)}


def node_as_leaf() -> dict[Cid, bytes]:
    """The bytes of a one-chunk file, named as if they were an inner node."""
    return {named(b"plain"): b"plain"}


@pytest.mark.parametrize(
    "content",
    [
        huge_claim,
        wrong_sizes,
        needless_depth,
        shared_leaf,
        smaller_chunks,
        folder,
        not_protobuf,
        fat_leaf,
        node_as_leaf,
    ],
)
def test_hostile_content_is_refused_with_little_work(
    serve: Serve, tmp_path: Path, content: Callable[[], dict[Cid, bytes]]
) -> None:
    """The publisher is the attacker here: every block is what its CID says."""
    blocks = content()
    root = list(blocks)[-1]
    asked: list[Cid] = []

    def answer(request: Any) -> None:
        asked.append(request.cid)
        request.send(blocks[request.cid])

    with open_store([serve(answer)]) as store:
        with pytest.raises((CidMismatch, LimitExceeded)):
            store.fetch(root, tmp_path / "dest", limit=8 * MIB)
        assert store.dropped == {}
    assert not (tmp_path / "dest").exists()
    assert len(asked) <= 3


def test_cycle_cannot_be_made_and_a_lie_about_it_is_caught(serve: Serve) -> None:
    """A node that lists itself would need a hash fixed point; a server can only pretend."""
    block = encode_node([leaf(bytes(MIB)), leaf(b"x")])
    root = named(block)
    with open_store([serve(lambda request: request.send(block))]) as store:
        with pytest.raises(BlockRejected) as caught:
            store.fetch_bytes(root, 8 * MIB)
        assert caught.value.cid != root


def test_proxy_and_netrc_of_the_environment_are_ignored(
    serve: Serve, honest: Honest, monkeypatch: pytest.MonkeyPatch, closed_port: str, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_port)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("no_proxy", raising=False)
    blocks = honest(b"small")
    seen: list[str | None] = []

    def answer(request: Any) -> None:
        seen.append(request.headers.get("Authorization"))
        request.send(blocks[request.cid])

    url = serve(answer)
    for apis, gateways in (([url], []), ([], [url])):
        with open_store(apis, gateways) as store:
            assert store.fetch_bytes(cid_of_bytes(b"small"), 10) == b"small"
    assert seen == [None, None]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"Hash": 5}',
        b'{"Hash": "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"}',
        b'{"Hash": "../../etc/passwd"}\n{"Hash": "x"}',
        b'{"Root": {"Cid": {"/": "bafy"}, "PinErrorMsg": ""}}',
        b"[" * 100_000,
        b"\xff\xfe",
        bytes(3 * MIB),
    ],
)
def test_daemon_that_answers_nonsense_never_confirms_anything(serve: Serve, reply: bytes) -> None:
    with open_store([serve(lambda request: request.send(reply))]) as store:
        with pytest.raises(StoreUnavailable):
            store.publish_bytes(b"content")
        with suppress(StoreUnavailable):
            assert not store.has(ROOT)
