"""Files as blocks: the one deterministic mapping from bytes to a CID.

Profile `unixfs-v1-2025` (IPIP-499): raw leaves of 1 MiB, balanced dag-pb nodes of at most 1024
links. A file of at most one chunk is one raw block. The mapping is computed here, never taken from
a daemon.

INVARIANT: the size of a file fixes the whole shape of its DAG, down to every byte of every
node but the digests. `read_children` refuses a node that differs in anything else, so whatever
passes re-imports to the same CID.

Source: https://specs.ipfs.tech/unixfs/ , https://specs.ipfs.tech/ipips/ipip-0499/
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import CidMismatch

Buffer = bytes | bytearray | memoryview
Emit = Callable[[Cid, bytes], None]


class Reader(Protocol):
    """Anything that hands out bytes in order: a file, a request body."""

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes, or none at the end."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How a file is cut: bytes per leaf, links per node (at least two).

    `legacy` is what Kubo made before CIDv1, and still does unless told otherwise: leaves wrapped in
    dag-pb, links by bare multihash. It is for importing only, and names its root by the digest that
    the CIDv0 has.
    """

    chunk_size: int
    max_links: int
    legacy: bool = False

    def __post_init__(self) -> None:
        assert self.chunk_size > 0
        assert self.max_links > 1

    def height(self, size: int) -> int:
        """Return the levels of inner nodes above the leaves of a `size`-byte file."""
        height, reach = 0, self.chunk_size
        while reach < size:
            height, reach = height + 1, reach * self.max_links
        return height

    def child_sizes(self, size: int, height: int) -> list[int]:
        """Return the bytes below each child of a node of that height (at least 1)."""
        span = self.chunk_size * self.max_links ** (height - 1)
        full, rest = divmod(size, span)
        return [span] * full + [rest] * (rest > 0)

    def total(self, size: int, height: int) -> int:
        """Return the block bytes of a whole subtree, which its parent states as Tsize."""
        assert not self.legacy, "files of the legacy profile are imported, never fetched"
        if height == 0:
            return size
        sizes = self.child_sizes(size, height)
        # All children but the last are alike, so each level is computed at most twice.
        first, last = (self.total(part, height - 1) for part in (sizes[0], sizes[-1]))
        totals = [first] * (len(sizes) - 1) + [last]
        zero = Cid(RAW, bytes(32))
        links = (Link(zero, part, total) for part, total in zip(sizes, totals, strict=True))
        return sum(totals) + len(encode_node(links))


UNIXFS_V1_2025: Final = Profile(chunk_size=1024 * 1024, max_links=1024)
UNIXFS_V0_2015: Final = Profile(chunk_size=256 * 1024, max_links=174, legacy=True)

# What peers and daemons exchange at most; ours have a chunk, or 1024 links of some 50 bytes.
MAX_BLOCK: Final = 2 * 1024 * 1024

_LINK_TAG: Final = 0x12
_DATA_TAG: Final = 0x0A
_HASH_TAG: Final = 0x0A
_FILE_HEADER: Final = b"\x08\x02\x18"
_DIGEST_AT: Final = 8  # link tag, link length, hash tag, hash length, four CID bytes
_OTHER_KINDS: Final = {1: "a folder", 4: "a symbolic link", 5: "a sharded folder (HAMT)"}


def _not_ours(kind: int | None = None) -> CidMismatch:
    what = f"is {_OTHER_KINDS[kind]}, and" if kind in _OTHER_KINDS else "is"
    return CidMismatch(
        f"the content {what} not a plain file in the unixfs-v1-2025 profile (1 MiB raw leaves, "
        "1024 links), so its CID does not follow from its bytes. "
        "Publish single files with this profile."
    )


@dataclass(frozen=True, slots=True)
class Link:
    """A subtree: its CID, the file bytes below it, and its cumulative block bytes (Tsize)."""

    cid: Cid
    size: int
    total: int


def encode_varint(value: int) -> bytes:
    """Encode an unsigned LEB128 integer, as protobuf, multiformats and CAR all do."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _encode_link(link: Link, legacy: bool = False) -> bytes:
    # PBLink: 1 Hash, 2 Name (present and empty), 3 Tsize. A CIDv0 is the multihash alone.
    name = bytes(link.cid)[2:] if legacy else bytes(link.cid)
    body = bytes((_HASH_TAG, len(name))) + name + b"\x12\x00\x18" + encode_varint(link.total)
    return bytes((_LINK_TAG, len(body))) + body


def _encode_leaf(chunk: Buffer, legacy: bool) -> tuple[Link, Buffer]:
    """Return the link to a leaf and its block."""
    if not legacy:
        return Link(Cid.of_block(RAW, chunk), len(chunk), len(chunk)), chunk
    # UnixFS Data: 1 Type = File (2), 2 Data (absent when empty), 3 filesize.
    size = encode_varint(len(chunk))
    data = b"".join((b"\x12", size, chunk)) if chunk else b""
    inner = b"\x08\x02" + data + b"\x18" + size
    block = bytes((_DATA_TAG,)) + encode_varint(len(inner)) + inner
    return Link(Cid.of_block(DAG_PB, block), len(chunk), len(block)), block


def encode_node(links: Iterable[Link], legacy: bool = False) -> bytes:
    """Serialise one inner node: dag-pb links first, then the UnixFS file header."""
    links = tuple(links)
    # UnixFS Data: 1 Type = File (2), 3 filesize, 4 blocksizes (not packed).
    header = _FILE_HEADER + encode_varint(sum(link.size for link in links))
    header += b"".join(b"\x20" + encode_varint(link.size) for link in links)
    data = bytes((_DATA_TAG,)) + encode_varint(len(header)) + header
    return b"".join(_encode_link(link, legacy) for link in links) + data


class DagBuilder:
    """Stack leaves into a balanced DAG, one open node per level.

    `emit` receives every inner node as it closes, children before parents; the caller keeps the
    leaves.
    """

    def __init__(self, emit: Emit, profile: Profile = UNIXFS_V1_2025) -> None:
        self._emit = emit
        self._profile = profile
        self._levels: list[list[Link]] = [[]]

    def add(self, leaf: Link) -> None:
        """Append the next leaf, in file order."""
        self._push(0, leaf)

    def _push(self, level: int, link: Link) -> None:
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        if len(row) == self._profile.max_links:
            self._close(level)
        self._levels[level].append(link)

    def _close(self, level: int) -> None:
        links, self._levels[level] = self._levels[level], []
        block = encode_node(links, self._profile.legacy)
        cid = Cid.of_block(DAG_PB, block)
        self._emit(cid, block)
        total = len(block) + sum(link.total for link in links)
        self._push(level + 1, Link(cid, sum(link.size for link in links), total))

    def finish(self) -> Link:
        """Close every open node and return the root. At least one leaf must have been added."""
        assert self._levels[0], "a file has at least one leaf, empty for the empty file"
        level = 0
        while level + 1 < len(self._levels) or len(self._levels[level]) > 1:
            self._close(level)
            level += 1
        return self._levels[level][0]


def chunks(stream: Reader, chunk_size: int) -> Iterator[bytes]:
    """Yield full chunks and a shorter last one; the empty stream yields one empty chunk."""
    first = True
    while True:
        # A raw or piped stream may return short reads, which must not become short leaves.
        parts, left = [], chunk_size
        while left and (part := stream.read(left)):
            parts.append(part)
            left -= len(part)
        if not parts and not first:
            return
        yield b"".join(parts)  # one part is not copied
        if left:
            return
        first = False


def blocks_of_stream(
    stream: Reader, profile: Profile = UNIXFS_V1_2025
) -> Iterator[tuple[Cid, bytes]]:
    """Yield every block of a file, children before parents, the root last."""
    made: list[tuple[Cid, bytes]] = []
    builder = DagBuilder(lambda cid, block: made.append((cid, block)), profile)
    for chunk in chunks(stream, profile.chunk_size):
        leaf, block = _encode_leaf(chunk, profile.legacy)
        builder.add(leaf)
        yield leaf.cid, bytes(block)
        yield from made
        made.clear()
    builder.finish()
    yield from made


def cid_of_file(path: Path, profile: Profile = UNIXFS_V1_2025) -> Cid:
    """Compute the CID of a file, at hashing speed and in constant memory."""
    builder = DagBuilder(lambda _cid, _block: None, profile)
    buffer = memoryview(bytearray(profile.chunk_size))  # one for all leaves: nothing is copied
    with path.open("rb", buffering=0) as file:
        leaf = _read_leaf(file, buffer)
        while True:
            builder.add(_encode_leaf(leaf, profile.legacy)[0])
            if len(leaf) < len(buffer) or not (leaf := _read_leaf(file, buffer)):
                return builder.finish().cid


def _read_leaf(file: FileIO, buffer: memoryview) -> memoryview:
    """Read a whole chunk, or what is left of the file."""
    filled = 0
    while filled < len(buffer) and (count := file.readinto(buffer[filled:])):
        filled += count
    return buffer[:filled]


def cid_of_stream(stream: Reader, profile: Profile = UNIXFS_V1_2025) -> Cid:
    """Compute the CID of what a stream still holds."""
    # A file has at least one block, and the last one is the root.
    return deque(blocks_of_stream(stream, profile), maxlen=1)[0][0]


def cid_of_bytes(data: Buffer, profile: Profile = UNIXFS_V1_2025) -> Cid:
    """Compute the CID of bytes in memory, the same as of a file that holds them."""
    view = memoryview(data).cast("B")
    builder = DagBuilder(lambda _cid, _block: None, profile)
    for start in range(0, max(len(view), 1), profile.chunk_size):
        leaf, _ = _encode_leaf(view[start : start + profile.chunk_size], profile.legacy)
        builder.add(leaf)
    return builder.finish().cid


class CidReader:
    """Another stream, read through; its CID is known once it has been read to its end."""

    def __init__(self, stream: Reader, profile: Profile = UNIXFS_V1_2025) -> None:
        assert not profile.legacy, "a wrapped leaf is hashed with its size before it"
        self._stream = stream
        self._chunk_size = profile.chunk_size
        self._builder = DagBuilder(lambda _cid, _block: None, profile)
        self._leaf = hashlib.sha256()
        self._leaf_size = 0
        self._any = False
        self.ended = False

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes, or none at the end."""
        # No piece reaches over the end of a leaf, so none has to be cut.
        data = self._stream.read(min(size, self._chunk_size - self._leaf_size))
        self._leaf.update(data)
        self._leaf_size += len(data)
        self.ended = not data
        if self._leaf_size == self._chunk_size:
            self._close_leaf()
        return data

    def _close_leaf(self) -> None:
        cid = Cid(RAW, self._leaf.digest())
        self._builder.add(Link(cid, self._leaf_size, self._leaf_size))
        self._leaf, self._leaf_size, self._any = hashlib.sha256(), 0, True

    def cid(self) -> Cid:
        """Return the CID of what was read; the stream has `ended`. Call it once."""
        assert self.ended, "the rest would have another CID"
        if self._leaf_size or not self._any:
            self._close_leaf()
        return self._builder.finish().cid


def declared_size(block: bytes) -> int:
    """Read the file size out of an inner node; a claim until `read_children` has checked it.

    Raises `CidMismatch` when the block is not laid out like an inner node of a file.
    """
    at = 0
    try:
        while block[at] == _LINK_TAG:
            length, at = _read_varint(block, at + 1)
            at += length
        if block[at] != _DATA_TAG:
            raise _not_ours()
        _, at = _read_varint(block, at + 1)
        if block[at : at + 3] != _FILE_HEADER:
            raise _not_ours(block[at + 1] if block[at] == _FILE_HEADER[0] else None)
        return _read_varint(block, at + 3)[0]
    except IndexError as error:
        raise _not_ours() from error


def read_children(
    block: bytes, size: int, height: int, profile: Profile = UNIXFS_V1_2025
) -> list[Link]:
    """Return the children of a verified inner node that covers `size` bytes at `height` >= 1.

    Raises `CidMismatch` unless the block is, byte for byte, what the importer would have made
    of these children.
    """
    sizes = profile.child_sizes(size, height)
    codec = RAW if height == 1 else DAG_PB
    first, last = (profile.total(part, height - 1) for part in (sizes[0], sizes[-1]))
    links: list[Link] = []
    at = 0
    for index, part in enumerate(sizes):
        total = last if index == len(sizes) - 1 else first
        digest = block[at + _DIGEST_AT : at + _DIGEST_AT + 32]
        if len(digest) != 32:
            raise _not_ours()
        links.append(Link(Cid(codec, digest), part, total))
        at += len(_encode_link(links[-1]))
    if encode_node(links) != block:
        raise _not_ours()
    return links


def _read_varint(block: bytes | memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        byte = block[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _not_ours()


def links_of(block: bytes) -> list[Cid]:
    """Return the CIDs any dag-pb block links to, whatever made it; names are skipped unread.

    Raises `CidMismatch` for a malformed block, `MalformedCid` for a link this system cannot hold.
    """
    return [
        Cid.from_bytes(bytes(value))
        for tag, link in _fields(memoryview(block))
        if tag == _LINK_TAG
        for inner, value in _fields(link)
        if inner == _HASH_TAG
    ]


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (tag, payload) of a protobuf message; varint fields have an empty payload."""
    at = 0
    try:
        while at < len(data):
            tag, at = _read_varint(data, at)
            value, at = _read_varint(data, at)
            if tag & 7 == 0:
                yield tag, data[:0]
                continue
            if tag & 7 != 2 or value > len(data) - at:
                raise CidMismatch("the block is not a dag-pb node.")
            yield tag, data[at : at + value]
            at += value
    except IndexError as error:
        raise CidMismatch("the block is not a dag-pb node.") from error
