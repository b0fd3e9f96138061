"""The importer against real Kubo: a thousand random files, whole trees, and every edge.

The library makes what Kubo makes by default: CIDv0, wrapped leaves of 256 KiB, 174 links
(`UNIXFS_V0_2015`). The cutting and stacking is the same code as for the profile in use; what
differs, the wrapping of leaves and the version of links, the published vectors cover.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import mmh3
import pytest
from Crypto.Cipher import ChaCha20

from protocol.storage.cid import DAG_PB, Cid
from protocol.storage.errors import CidMismatch
from protocol.storage.store import open_store
from protocol.storage.unixfs import (
    UNIXFS_V0_2015,
    Link,
    Profile,
    blocks_of_stream,
    cid_of_bytes,
    cid_of_file,
    encode_varint,
)
from tests.support.kubo_library import Kubo, multihash, why_missing

pytestmark = pytest.mark.skipif(why_missing() is not None, reason=str(why_missing()))

CHUNK = UNIXFS_V0_2015.chunk_size
WIDTH = UNIXFS_V0_2015.max_links


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    with Kubo(tmp_path_factory.mktemp("kubo")) as node:
        yield node


def named(cid: Cid) -> bytes:
    """The multihash that a CIDv0 is."""
    assert cid.codec == DAG_PB
    return bytes(cid)[2:]


def sizes(count: int, seed: int) -> Iterator[int]:
    """Mostly small, some around a chunk, some of several chunks."""
    source = random.Random(seed)
    for _ in range(count):
        kind = source.random()
        if kind < 0.7:
            yield source.randrange(3000)
        elif kind < 0.9:
            yield CHUNK + source.randrange(-2, 3)
        else:
            yield source.randrange(5 * CHUNK)


def test_a_thousand_random_files_get_the_cid_that_kubo_gives(kubo: Kubo, tmp_path: Path) -> None:
    source = random.Random(499)
    path = tmp_path / "file"
    for size in sizes(1000, seed=499):
        path.write_bytes(source.randbytes(size))
        ours = cid_of_file(path, UNIXFS_V0_2015)
        assert named(ours) == kubo.add(path, only_hash=True), size


@pytest.mark.parametrize(
    "size",
    [
        *(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1),
        *((WIDTH - 1) * CHUNK, WIDTH * CHUNK - 1, WIDTH * CHUNK, WIDTH * CHUNK + 1),
        *((WIDTH + 1) * CHUNK, 2 * WIDTH * CHUNK, 2 * WIDTH * CHUNK + 1),
    ],
)
def test_edges_of_chunk_and_width_get_the_cid_that_kubo_gives(
    kubo: Kubo, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(size).randbytes(CHUNK) * (size // CHUNK) + bytes(size % CHUNK))
    assert named(cid_of_file(path, UNIXFS_V0_2015)) == kubo.add(path, only_hash=True)


def folder_node(entries: dict[str, Link], *, legacy: bool = True) -> Link:
    """A UnixFS folder as Kubo lays it out, entries in the order of their names' bytes."""
    block = b""
    for name, link in sorted(entries.items(), key=lambda item: item[0].encode()):
        text = name.encode()
        cid = named(link.cid) if legacy else bytes(link.cid)
        body = b"\x0a" + bytes([len(cid)]) + cid + b"\x12" + encode_varint(len(text)) + text
        body += b"\x18" + encode_varint(link.total)
        block += b"\x12" + encode_varint(len(body)) + body
    block += b"\x0a\x02\x08\x01"
    total = len(block) + sum(link.total for link in entries.values())
    return Link(Cid.of_block(DAG_PB, block), 0, total)


def import_tree(folder: Path, profile: Profile) -> Link:
    """Name a folder bottom up, every file by the importer under test."""
    entries = {}
    for path in folder.iterdir():
        if path.is_dir():
            entries[path.name] = import_tree(path, profile)
        else:
            with path.open("rb") as stream:
                blocks = list(blocks_of_stream(stream, profile))
            total = sum(len(block) for _, block in blocks)
            entries[path.name] = Link(blocks[-1][0], path.stat().st_size, total)
    return folder_node(entries)


def grow(folder: Path, source: random.Random, depth: int) -> int:
    """Make a random tree; return its number of files."""
    folder.mkdir()
    count = source.randrange(1, 8)
    for number, size in enumerate(sizes(count, source.randrange(2**32))):
        name = source.choice(["f", "ü", "-", "A b", "ﬁle"]) + str(number)
        (folder / name).write_bytes(source.randbytes(size))
    if depth:
        for number in range(source.randrange(3)):
            count += grow(folder / f"d{number}", source, depth - 1)
    return count


def test_random_trees_get_the_cid_that_kubo_gives(kubo: Kubo, tmp_path: Path) -> None:
    """A folder's node holds the CID and the block bytes of every file in it."""
    source = random.Random(2025)
    files = 0
    for number in range(40):
        tree = tmp_path / f"tree{number}"
        files += grow(tree, source, depth=3)
        assert named(import_tree(tree, UNIXFS_V0_2015).cid) == kubo.add(tree, only_hash=True)
    assert files > 300


def test_kubo_tells_apart_what_the_importer_tells_apart(kubo: Kubo, tmp_path: Path) -> None:
    """The comparison can fail: one byte, and one parameter of the profile, change the name."""
    path = tmp_path / "file"
    data = random.Random(3).randbytes(2 * CHUNK)
    path.write_bytes(data)
    theirs = kubo.add(path, only_hash=True)
    assert named(cid_of_bytes(data, UNIXFS_V0_2015)) == theirs
    assert named(cid_of_bytes(data[:-1] + b"x", UNIXFS_V0_2015)) != theirs
    for other in (Profile(CHUNK, WIDTH), Profile(CHUNK // 2, WIDTH, legacy=True)):
        assert named(cid_of_bytes(data, other)) != theirs


def name_of_length(stream: ChaCha20.ChaCha20Cipher, length: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz01234567890-_"
    return "".join(letters[byte % len(letters)] for byte in stream.encrypt(bytes(length)))


def many_names(seed: str, lengths: list[int]) -> list[str]:
    """The file names of the published folder vectors."""
    stream = ChaCha20.new(key=hashlib.sha256(seed.encode()).digest(), nonce=bytes(12))
    return [name_of_length(stream, length) for length in lengths]


# Source: the conformance suite of IPIP-499; every file holds the byte "x".
def test_widest_plain_folder_matches_its_published_vector() -> None:
    names = many_names("hamt-unixfs-v1-2025", [11] * 4765 + [21])
    file = Link(cid_of_bytes(b"x"), 1, 1)
    entries = dict.fromkeys(names, file)
    assert len(entries) == 4766
    root = folder_node(entries, legacy=False)
    assert str(root.cid) == "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4"
    names = many_names("hamt-unixfs-v0-2015", [30] * 4096)
    (leaf, block), *_ = blocks_of_stream(io.BytesIO(b"x"), UNIXFS_V0_2015)
    root = folder_node(dict.fromkeys(names, Link(leaf, 1, len(block))))
    assert named(root.cid) == multihash("QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN")


@pytest.mark.parametrize(
    ("count", "length", "kind"),
    [(40, 30, "a folder"), (4033, 31, r"a sharded folder \(HAMT\)")],
)
def test_folders_that_kubo_makes_are_refused_by_name(
    kubo: Kubo, serve: Callable[..., str], tmp_path: Path, count: int, length: int, kind: str
) -> None:
    """Kubo's own root block, served by CID, is refused; the HAMT is the published vector."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in many_names("hamt-unixfs-v0-2015", [length] * count):
        (tree / name).write_bytes(b"x")
    made = kubo.add(tree)
    if count == 4033:
        assert made == multihash("QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP")
    else:
        assert made == named(import_tree(tree, UNIXFS_V0_2015).cid)
    root = Cid(DAG_PB, made[2:])
    block = kubo.block_path(root.digest).read_bytes()
    assert root.matches(block)
    url = serve(lambda request: request.send(block))
    with open_store([], [url]) as store:
        with pytest.raises(CidMismatch, match=f"{root}.*{url}.*{kind}"):
            store.fetch(root, tmp_path / "dest", 2**40)
        assert store.dropped == {}
    assert not (tmp_path / "dest").exists()


def shard_node(entries: dict[str, Link], depth: int = 0) -> tuple[Link, bytes]:
    """A sharded folder (HAMT) of CIDv1 as Kubo lays it out: 256 slots, chosen by murmur3."""
    slots: dict[int, dict[str, Link]] = {}
    for name, link in entries.items():
        digest = mmh3.hash64(name.encode(), signed=False)[0].to_bytes(8, "big")
        slots.setdefault(digest[depth], {})[name] = link
    block, below = b"", 0
    for slot, held in sorted(slots.items()):
        (name, link), *more = held.items()
        if more:
            name, (link, _) = "", shard_node(held, depth + 1)
        text = f"{slot:02X}{name}".encode()
        body = b"\x0a\x24" + bytes(link.cid) + b"\x12" + encode_varint(len(text)) + text
        body += b"\x18" + encode_varint(link.total)
        block += b"\x12" + encode_varint(len(body)) + body
        below += link.total
    taken = sum(1 << slot for slot in slots)
    field = taken.to_bytes((taken.bit_length() + 7) // 8, "big")
    # UnixFS Data: 1 Type = HAMTShard (5), 2 the slots in use, 5 hash murmur3-x64-64, 6 fanout 256.
    data = b"\x08\x05\x12" + encode_varint(len(field)) + field + b"\x28\x22\x30\x80\x02"
    block += b"\x0a" + encode_varint(len(data)) + data
    return Link(Cid.of_block(DAG_PB, block), 0, len(block) + below), block


@pytest.mark.parametrize("disguised", [False, True])
def test_sharded_folder_of_the_profile_is_refused_by_type_and_by_content(
    serve: Callable[..., str], tmp_path: Path, *, disguised: bool
) -> None:
    """The published vector as it is, and claiming to be a file: its links are still no file's."""
    names = many_names("hamt-unixfs-v1-2025", [11] * 4765 + [22])
    root, block = shard_node(dict.fromkeys(names, Link(cid_of_bytes(b"x"), 1, 1)))
    assert str(root.cid) == "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu"
    cid, kind = root.cid, r"a sharded folder \(HAMT\)"
    if disguised:
        at = block.rindex(b"\x0a", 0, block.rindex(b"\x08\x05\x12"))
        header = b"\x08\x02\x18" + encode_varint(256 * 2**20) + b"\x20\x80\x80\x40" * 256
        block = block[:at] + b"\x0a" + encode_varint(len(header)) + header
        cid, kind = Cid.of_block(DAG_PB, block), "not a plain file"
    url = serve(lambda request: request.send(block))
    with open_store([], [url]) as store, pytest.raises(CidMismatch, match=f"{cid}.*{url}.*{kind}"):
        store.fetch(cid, tmp_path / "dest", 2**40)
    assert list(tmp_path.iterdir()) == []
