"""What hostile sources and hostile content cost: little memory, no thread, no half-written file.

The client is a process of its own whose peak is measured. The file has enough leaves for all eight
parallel requests to run into the attack at once.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.node import NodeProcess
from protocol.storage.store import ContentStore
from protocol.storage.unixfs import Link, cid_of_bytes, encode_node, encode_varint
from tests.support.measured_fetch import MeasuredFetcher

MIB = 1024 * 1024
ALLOWED = 64 * MIB
DATA = b"".join(bytes([number]) * MIB for number in range(16))
ROOT = cid_of_bytes(DATA)
SECONDS = 1.0

Serve = Callable[[Callable[[Any], None]], str]
Honest = Callable[[bytes], dict[Cid, bytes]]
Attack = Callable[[Any, bytes], None]


def flood(request: Any, *first: bytes, then: bytes) -> None:
    """Send until the client hangs up, at most ten gigabytes."""
    request.close_connection = True
    with suppress(OSError):
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for part in first:
            request.wfile.write(part)
        for _ in range(10 * 1024**3 // len(then)):
            request.wfile.write(then)


def lies_in_one_block(request: Any, block: bytes) -> None:
    request.send(block if block[0] != 3 else block[:-1] + b"!")


def truncates(request: Any, block: bytes) -> None:
    request.send(block[: len(block) // 2])


def stalls_for_ever(request: Any, block: bytes) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + block[:1000])
    request.wfile.flush()
    hold(request)


def hold(request: Any) -> None:
    """Wait until the client hangs up."""
    request.connection.settimeout(30)
    with suppress(OSError):
        while request.connection.recv(1024):
            pass
    request.close_connection = True


def drips_for_ever(request: Any, block: bytes) -> None:
    request.connection.settimeout(0.05)
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")
    drip(request, b"x")


def drips_headers(request: Any, block: bytes) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(request, b"x")


def drip(request: Any, byte: bytes) -> None:
    request.connection.settimeout(0.1)
    request.close_connection = True
    with suppress(OSError):
        for _ in range(300):
            request.wfile.write(byte)
            request.wfile.flush()
            with suppress(socket.timeout):
                if not request.connection.recv(1024):
                    return


def continues_for_ever(request: Any, block: bytes) -> None:
    request.close_connection = True
    with suppress(OSError):
        while True:
            request.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def redirects(request: Any, block: bytes) -> None:
    request.send(b"", status=307, Location=f"http://127.0.0.1:9/ipfs/{request.cid}")


BOMB = gzip.compress(bytes(128 * MIB), 1)


def gzip_bomb(request: Any, block: bytes) -> None:
    request.send(BOMB, Content_Encoding="gzip")


def ten_gigabytes_declared(request: Any, block: bytes) -> None:
    flood(request, b"Content-Length: 10737418240\r\n\r\n", then=bytes(MIB))


def ten_gigabytes_in_chunks(request: Any, block: bytes) -> None:
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
    flood(request, b"Transfer-Encoding: chunked\r\n\r\n", then=chunk)


def ten_gigabytes_in_one_chunk(request: Any, block: bytes) -> None:
    flood(request, b"Transfer-Encoding: chunked\r\n\r\n280000000\r\n", then=bytes(MIB))


def ten_gigabytes_before_the_first_line_ends(request: Any, block: bytes) -> None:
    flood(request, b"Transfer-Encoding: chunked\r\n\r\n", then=b"0" * MIB)


def ten_gigabytes_of_trailers(request: Any, block: bytes) -> None:
    trailer = b"X-Trailer: more\r\n" * 10_000
    flood(request, b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", then=trailer)


def ten_gigabytes_of_headers(request: Any, block: bytes) -> None:
    flood(request, then=b"X-Header: " + b"x" * 65_000 + b"\r\n")


def ninety_fat_headers(request: Any, block: bytes) -> None:
    for number in range(90):
        request.wfile.write(b"" if number else b"HTTP/1.1 200 OK\r\n")
        request.wfile.write(b"X-%d: " % number + b"x" * 65_000 + b"\r\n")
    request.wfile.write(b"Content-Length: %d\r\n\r\n" % len(block) + block)


def error_in_gigabytes(request: Any, block: bytes) -> None:
    request.close_connection = True
    with suppress(OSError):
        request.wfile.write(b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n" + b'{"Message": "')
        for _ in range(1024):
            request.wfile.write(b"x" * MIB)


def error_trailer_after_half(request: Any, block: bytes) -> None:
    """What a Kubo daemon does when its own source breaks off."""
    half = block[: len(block) // 2]
    request.wfile.write(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Stream-Error\r\n\r\n"
        + b"%x\r\n" % len(half)
        + half
        + b"\r\n0\r\nX-Stream-Error: unexpected EOF\r\n\r\n"
    )


NAMED_AND_DROPPED = "BlockRejected"
PASSED_OVER = "StoreUnavailable"
ATTACKS: list[tuple[Attack, str]] = [
    (lies_in_one_block, NAMED_AND_DROPPED),
    (truncates, NAMED_AND_DROPPED),
    (error_trailer_after_half, NAMED_AND_DROPPED),
    (redirects, NAMED_AND_DROPPED),
    (gzip_bomb, NAMED_AND_DROPPED),
    (ten_gigabytes_declared, NAMED_AND_DROPPED),
    (ten_gigabytes_in_chunks, NAMED_AND_DROPPED),
    (ten_gigabytes_in_one_chunk, NAMED_AND_DROPPED),
    (stalls_for_ever, PASSED_OVER),
    (drips_for_ever, PASSED_OVER),
    (drips_headers, PASSED_OVER),
    (continues_for_ever, PASSED_OVER),
    (ten_gigabytes_before_the_first_line_ends, PASSED_OVER),
    (ten_gigabytes_of_trailers, PASSED_OVER),
    (ten_gigabytes_of_headers, PASSED_OVER),
    (ninety_fat_headers, PASSED_OVER),
    (error_in_gigabytes, "either"),
]


@pytest.fixture(scope="module")
def fetcher(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MeasuredFetcher]:
    with MeasuredFetcher() as process:
        yield process


@pytest.fixture
def measured(
    fetcher: MeasuredFetcher, serve: Serve, honest: Honest, tmp_path: Path
) -> Callable[..., Any]:
    """Fetch in the other process; the first time, an honest fetch sets the baseline."""
    blocks = honest(b"baseline" * 300_000)
    root = list(blocks)[-1]
    url = serve(lambda request: request.send(blocks[request.cid]))
    order = {"limit": 2**40, "seconds": SECONDS, "dest": str(tmp_path / "dest")}
    apart = str(tmp_path / "baseline")
    fetcher.fetch(cid=str(root), apis=[url], gateways=[url], **{**order, "dest": apart})
    Path(apart).unlink()
    return lambda **more: fetcher.fetch(**{**order, **more})


# Those that are waited for run against one kind of source: both read replies in the same way.
SLOW = (stalls_for_ever, drips_for_ever, drips_headers, ten_gigabytes_of_trailers)


@pytest.mark.parametrize(
    ("attack", "expected", "kind"),
    [
        pytest.param(attack, expected, kind, id=f"{kind}-{attack.__name__}")
        for attack, expected in ATTACKS
        for kind in ("apis", "gateways")
        if kind == "gateways" or attack not in SLOW
    ],
)
def test_hostile_source_costs_little_alone_and_nothing_beside_an_honest_one(
    measured: Callable[..., Any],
    serve: Serve,
    honest: Honest,
    node: NodeProcess,
    store: ContentStore,
    tmp_path: Path,
    attack: Attack,
    expected: str,
    kind: str,
) -> None:
    blocks = honest(DATA)

    def answer(request: Any) -> None:
        block = blocks[request.cid]
        if request.cid == ROOT:
            request.send(block)
        else:
            attack(request, block)

    # The honest source is a process of its own: the floods must not slow it down.
    assert store.publish_bytes(DATA) == ROOT
    bad, good = serve(answer), node.api_url if kind == "apis" else node.gateway_url
    other = "gateways" if kind == "apis" else "apis"
    order = {"cid": str(ROOT), other: []}

    alone = measured(**order, **{kind: [bad]})
    assert alone.error in ([expected] if expected != "either" else ["BlockRejected", PASSED_OVER])
    assert bad in alone.text
    assert alone.dropped == ([bad] if alone.error == NAMED_AND_DROPPED else [])
    assert not (tmp_path / "dest").exists()

    beside = measured(**order, **{kind: [bad, good]}, seconds=2 * SECONDS)
    assert beside.error is None, beside.text
    assert (tmp_path / "dest").read_bytes() == DATA
    assert good not in beside.dropped
    assert [path.name for path in tmp_path.iterdir()] == ["dest"]

    for outcome in (alone, beside):
        assert outcome.grew < ALLOWED, f"{outcome.grew / MIB:.0f} MiB"
        assert outcome.threads == 0
        assert outcome.seconds < 15


def leaf(data: bytes) -> Link:
    return Link(Cid.of_block(RAW, data), len(data), len(data))


def named(block: bytes) -> Cid:
    return Cid.of_block(DAG_PB, block)


def billion_links() -> dict[Cid, bytes]:
    """Three levels of 1024 links each to the same child: a petabyte in three blocks."""
    blocks = {leaf(bytes(MIB)).cid: bytes(MIB)}
    link = leaf(bytes(MIB))
    for _ in range(3):
        block = encode_node([link] * 1024)
        link = Link(named(block), 1024 * link.size, 1024 * link.total + len(block))
        blocks[link.cid] = block
    return blocks


def million_empty_links() -> dict[Cid, bytes]:
    """As many links as fit a block, none of which says anything."""
    block = b"\x12\x00" * (MIB - 100)
    return {named(block): block}


def links_of_two_megabytes() -> dict[Cid, bytes]:
    """Forty thousand links where the size that is declared allows two."""
    block = encode_node([leaf(bytes(MIB))] * 2)
    length = block[1] + 2
    link, data = block[:length], block[2 * length :]
    assert block == link * 2 + data
    full = link * ((2 * MIB - len(data)) // length) + data
    return {leaf(bytes(MIB)).cid: bytes(MIB), named(full): full}


def endless_chain() -> dict[Cid, bytes]:
    """Nodes of one child each, deeper than any file of that size."""
    blocks, link = {leaf(b"x").cid: b"x"}, leaf(b"x")
    for _ in range(2000):
        block = encode_node([link])
        link = Link(named(block), link.size, link.total + len(block))
        blocks[link.cid] = block
    return blocks


def wrong_sizes() -> dict[Cid, bytes]:
    """A last leaf that is shorter than its node says."""
    block = encode_node([leaf(bytes(MIB)), Link(leaf(b"tail").cid, 5, 5)])
    return {leaf(bytes(MIB)).cid: bytes(MIB), leaf(b"tail").cid: b"tail", named(block): block}


def escaping_name() -> dict[Cid, bytes]:
    """A folder whose entry would lie outside of it."""
    text = b"../../../../tmp/escaped"
    body = b"\x0a\x24" + bytes(leaf(b"x").cid) + b"\x12" + encode_varint(len(text)) + text
    body += b"\x18\x01"
    block = b"\x12" + encode_varint(len(body)) + body + b"\x0a\x02\x08\x01"
    return {leaf(b"x").cid: b"x", named(block): block}


def name_in_a_file() -> dict[Cid, bytes]:
    """A file that is right but for the name of a link."""
    honest = encode_node([leaf(bytes(MIB)), leaf(b"x")])
    length = honest[1] + 2
    link, rest = honest[:length], honest[length:]
    at = link.index(b"\x12\x00", 10)
    spoilt = b"\x12" + bytes([link[1] + 2]) + link[2:at] + b"\x12\x02.." + link[at + 2 :]
    block = spoilt + rest
    return {leaf(bytes(MIB)).cid: bytes(MIB), leaf(b"x").cid: b"x", named(block): block}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (billion_links, "LimitExceeded"),
        (million_empty_links, "CidMismatch"),
        (links_of_two_megabytes, "CidMismatch"),
        (endless_chain, "CidMismatch"),
        (wrong_sizes, "CidMismatch"),
        (escaping_name, "CidMismatch"),
        (name_in_a_file, "CidMismatch"),
    ],
)
def test_hostile_content_is_refused_by_name_in_little_memory(
    measured: Callable[..., Any],
    serve: Serve,
    tmp_path: Path,
    content: Callable[[], dict[Cid, bytes]],
    error: str,
) -> None:
    """Every block is what its CID says; it is the publisher who attacks."""
    blocks = content()
    root = list(blocks)[-1]
    url = serve(lambda request: request.send(blocks[request.cid]))
    for apis, gateways in (([url], []), ([], [url])):
        outcome = measured(cid=str(root), apis=apis, gateways=gateways, limit=64 * MIB)
        assert outcome.error == error, outcome.text
        assert url in outcome.text
        assert str(root) in outcome.text
        assert outcome.grew < ALLOWED, f"{outcome.grew / MIB:.0f} MiB"
        assert outcome.seconds < 5
        assert outcome.dropped == []
        assert not (tmp_path / "dest").exists()
    assert not Path("/tmp/escaped").exists()


def test_cycle_of_nodes_is_caught_as_a_lie(
    measured: Callable[..., Any], serve: Serve, tmp_path: Path
) -> None:
    """No block can name itself, so a source can only pretend, by sending it again."""
    block = encode_node([leaf(bytes(MIB)), leaf(b"x")])
    url = serve(lambda request: request.send(block))
    outcome = measured(cid=str(named(block)), apis=[url], gateways=[], limit=64 * MIB)
    assert (outcome.error, outcome.dropped) == ("BlockRejected", [url])
    assert outcome.grew < ALLOWED
    assert not (tmp_path / "dest").exists()
