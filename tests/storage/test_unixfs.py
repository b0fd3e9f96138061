"""Bytes to CID: the published IPIP-499 vectors, a second construction, and every width edge."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from Crypto.Cipher import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import CidMismatch, MalformedCid
from protocol.storage.unixfs import (
    UNIXFS_V0_2015,
    UNIXFS_V1_2025,
    DagBuilder,
    Link,
    Profile,
    blocks_of_stream,
    cid_of_bytes,
    cid_of_file,
    declared_size,
    encode_node,
    links_of,
    read_children,
)
from tests.support.kubo_library import multihash

MIB = 1024 * 1024
SMALL = Profile(chunk_size=4, max_links=3)


def keystream(seed: str) -> ChaCha20.ChaCha20Cipher:
    """The generator of the IPIP-499 fixtures: ChaCha20 under the hash of a seed."""
    return ChaCha20.new(key=hashlib.sha256(seed.encode()).digest(), nonce=bytes(12))


def varint(value: int) -> bytes:
    head, low = divmod(value, 128)
    return bytes([low | 128]) + varint(head) if head else bytes([low])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def second_construction(
    data: bytes, chunk: int, width: int, *, raw_leaves: bool = True, version: int = 1
) -> bytes:
    """Build the same DAG another way, layer upon layer; return the binary CID of the root.

    It also makes the older profile (CIDv0, wrapped leaves), so that more published vectors
    confirm it.
    """

    def name(block: bytes, codec: int) -> bytes:
        multihash = b"\x12\x20" + hashlib.sha256(block).digest()
        return multihash if version == 0 else bytes([1, codec]) + multihash

    row = []
    for at in range(0, max(len(data), 1), chunk):
        part = data[at : at + chunk]
        if raw_leaves:
            row.append((name(part, 0x55), len(part), len(part)))
        else:
            inner = field(1, 2) + (field(2, part) if part else b"") + field(3, len(part))
            leaf = field(1, inner)
            row.append((name(leaf, 0x70), len(part), len(leaf)))
    while len(row) > 1:
        above = []
        for at in range(0, len(row), width):
            group = row[at : at + width]
            links = [field(1, cid) + field(2, b"") + field(3, total) for cid, _, total in group]
            size = sum(size for _, size, _ in group)
            unixfs = field(1, 2) + field(3, size) + b"".join(field(4, one[1]) for one in group)
            node = b"".join(field(2, link) for link in links) + field(1, unixfs)
            above.append((name(node, 0x70), size, len(node) + sum(one[2] for one in group)))
        row = above
    return row[0][0]


# Source: kubo test/cli/cid_profiles_test.go and the conformance suite of ipfs-unixfs-importer.
@pytest.mark.parametrize(
    ("seed", "size", "cid"),
    [
        ("chunk-v1-seed", MIB, "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
        ("chunk-v1-seed", MIB + 1, "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
    ],
)
def test_chunk_boundary_matches_published_vectors(
    seed: str, size: int, cid: str, tmp_path: Path
) -> None:
    data = keystream(seed).encrypt(bytes(size))
    assert str(cid_of_bytes(data)) == cid
    path = tmp_path / "file"
    path.write_bytes(data)
    assert str(cid_of_file(path)) == cid
    assert bytes(Cid.parse(cid)) == second_construction(data, MIB, 1024)


def test_small_and_empty_files_match_published_vectors() -> None:
    hello = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    empty = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    assert str(cid_of_bytes(b"hello world")) == hello
    assert str(cid_of_bytes(b"")) == empty


def test_link_limit_matches_published_vectors() -> None:
    """1024 chunks, one byte more, and one chunk more; the stream is hashed once for all three."""
    cipher = keystream("v1-2025-seed")
    zeros = bytes(MIB)
    leaves = [Link(Cid.of_block(RAW, cipher.encrypt(zeros)), MIB, MIB) for _ in range(1024)]
    last = cipher.encrypt(zeros)

    def root(*more: bytes) -> str:
        builder = DagBuilder(lambda _cid, _block: None)
        for leaf in leaves:
            builder.add(leaf)
        for part in more:
            builder.add(Link(Cid.of_block(RAW, part), len(part), len(part)))
        return str(builder.finish().cid)

    assert root() == "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm"
    assert root(last[:1]) == "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe"
    assert root(last) == "bafybeihmzokxxjqwxjcryerhp5ezpcog2wcawfryb2xm64xiakgm4a5jue"


@pytest.mark.parametrize(
    ("seed", "size", "cid"),
    [
        ("chunk-v0-seed", 262144, "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE"),
        ("chunk-v0-seed", 262145, "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"),
        ("v0-seed", 174 * 262144, "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"),
        ("v0-seed", 174 * 262144 + 1, "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW"),
        ("v0-seed", 175 * 262144, "QmepeWtdmS1hHXx1oZXsPUv6bMrfRRKfZcoPPU4eEfjnbf"),
    ],
)
def test_both_constructions_match_vectors_of_the_older_profile(
    seed: str, size: int, cid: str
) -> None:
    data = keystream(seed).encrypt(bytes(size))
    made = second_construction(data, 256 * 1024, 174, raw_leaves=False, version=0)
    assert made == multihash(cid)
    assert bytes(cid_of_bytes(data, UNIXFS_V0_2015))[2:] == made
    *_, (root, _) = blocks_of_stream(io.BytesIO(data), UNIXFS_V0_2015)
    assert bytes(root)[2:] == made


def test_small_and_empty_files_match_vectors_of_the_older_profile() -> None:
    for data, cid in (
        (b"hello world", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        (b"", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
    ):
        assert bytes(cid_of_bytes(data, UNIXFS_V0_2015))[2:] == multihash(cid)


@pytest.mark.parametrize("links", [2, 3, 1024])
@pytest.mark.parametrize("chunks", [1, 2, 3, 4, 9, 10, 27, 28, 1023, 1024, 1025])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_both_constructions_agree_at_every_width_edge(links: int, chunks: int, extra: int) -> None:
    data = random.Random(chunks).randbytes(4 * chunks + extra)
    profile = Profile(chunk_size=4, max_links=links)
    assert bytes(cid_of_bytes(data, profile)) == second_construction(data, 4, links)


@pytest.mark.parametrize("seed", range(12))
def test_both_constructions_agree_on_deep_dags(seed: int) -> None:
    """Thousands of leaves, up to thirteen levels above them, in both forms of links."""
    source = random.Random(seed)
    links = source.choice([2, 2, 3, 4, 7])
    chunk = source.randrange(1, 6)
    data = source.randbytes(chunk * source.randrange(3_000, 9_000) + source.randrange(chunk))
    profile = Profile(chunk, links)
    assert profile.height(len(data)) >= 5
    assert bytes(cid_of_bytes(data, profile)) == second_construction(data, chunk, links)
    older = Profile(chunk, links, legacy=True)
    made = second_construction(data, chunk, links, raw_leaves=False, version=0)
    assert bytes(cid_of_bytes(data, older))[2:] == made


@given(st.binary(max_size=400), st.integers(1, 9), st.integers(2, 5))
def test_both_constructions_agree(data: bytes, chunk: int, links: int) -> None:
    profile = Profile(chunk, links)
    cid = cid_of_bytes(data, profile)
    assert bytes(cid) == second_construction(data, chunk, links)
    blocks = list(blocks_of_stream(io.BytesIO(data), profile))
    assert blocks[-1][0] == cid
    assert all(name.matches(block) for name, block in blocks)


@given(st.binary(max_size=400), st.integers(1, 9), st.integers(2, 5))
def test_size_alone_predicts_shape(data: bytes, chunk: int, links: int) -> None:
    profile = Profile(chunk, links)
    blocks = dict(blocks_of_stream(io.BytesIO(data), profile))
    root = cid_of_bytes(data, profile)

    def total(cid: Cid) -> int:
        block = blocks[cid]
        return len(block) + sum(total(child) for child in below(cid))

    def below(cid: Cid) -> list[Cid]:
        return links_of(blocks[cid]) if cid.codec == DAG_PB else []

    def read(cid: Cid, size: int, height: int) -> Iterator[bytes]:
        assert profile.total(size, height) == total(cid)
        if height == 0:
            yield blocks[cid]
            return
        for link in read_children(blocks[cid], size, height, profile):
            yield from read(link.cid, link.size, height - 1)

    height = profile.height(len(data))
    assert (height == 0) == (root.codec == RAW)
    if height:
        assert declared_size(blocks[root]) == len(data)
    assert b"".join(read(root, len(data), height)) == data


class _Dribble(io.BytesIO):
    """A stream that returns less than it is asked for, as pipes and sockets do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 3))


def test_short_reads_do_not_change_the_cid() -> None:
    data = random.Random(1).randbytes(101)
    *_, (root, _) = blocks_of_stream(_Dribble(data), SMALL)
    assert root == cid_of_bytes(data, SMALL)


def _node(size: int = 10) -> tuple[list[Link], bytes]:
    data = random.Random(2).randbytes(size)
    leaves = [data[at : at + 4] for at in range(0, size, 4)]
    links = [Link(Cid.of_block(RAW, leaf), len(leaf), len(leaf)) for leaf in leaves]
    return links, encode_node(links)


def test_every_changed_byte_of_a_node_changes_a_digest_or_is_refused() -> None:
    """The only freedom in a node is the 32 bytes of each child's digest."""
    links, block = _node()
    assert read_children(block, 10, 1, SMALL) == links
    for at in range(len(block)):
        spoilt = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
        try:
            children = read_children(spoilt, 10, 1, SMALL)
        except CidMismatch:
            continue
        assert [child.cid for child in children] != [link.cid for link in links]
        assert encode_node(children) == spoilt


@pytest.mark.parametrize("cut", range(0, 140, 7))
def test_truncated_or_extended_node_is_refused(cut: int) -> None:
    _, block = _node()
    with pytest.raises(CidMismatch):
        read_children(block[:cut], 10, 1, SMALL)
    with pytest.raises(CidMismatch):
        read_children(block + bytes(cut + 1), 10, 1, SMALL)


def test_node_with_wrong_sizes_is_refused() -> None:
    links, _ = _node()
    for wrong in (
        [Link(links[0].cid, 3, 4), *links[1:]],
        [Link(links[0].cid, 4, 5), *links[1:]],
        links[:2],
        [*links, links[0]],
        [Link(Cid(DAG_PB, links[0].cid.digest), 4, 4), *links[1:]],
    ):
        with pytest.raises(CidMismatch):
            read_children(encode_node(wrong), 10, 1, SMALL)


@given(st.binary(max_size=200))
def test_parsers_refuse_noise_without_surprise(noise: bytes) -> None:
    for parse in (declared_size, links_of):
        with suppress(CidMismatch, MalformedCid):
            parse(noise)


def test_profile_is_the_one_of_ipip_499() -> None:
    assert Profile(chunk_size=MIB, max_links=1024) == UNIXFS_V1_2025
