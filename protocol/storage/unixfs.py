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

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
    """How a file is cut: bytes per leaf, links per node (at least two)."""

    chunk_size: int
    max_links: int

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

# What peers and daemons exchange at most; ours have a chunk, or 1024 links of some 50 bytes.
MAX_BLOCK: Final = 2 * 1024 * 1024

_LINK_TAG: Final = 0x12
_DATA_TAG: Final = 0x0A
_HASH_TAG: Final = 0x0A
_FILE_HEADER: Final = b"\x08\x02\x18"
_DIGEST_AT: Final = 8  # link tag, link length, hash tag, hash length, four CID bytes
_NOT_OURS: Final = (
    "The content is not a plain file in the unixfs-v1-2025 profile (1 MiB raw leaves, 1024 links), "
    "so its CID does not follow from its bytes. Publish it again with this profile."
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


def _encode_link(link: Link) -> bytes:
    # PBLink: 1 Hash, 2 Name (present and empty), 3 Tsize.
    body = b"\x0a\x24" + bytes(link.cid) + b"\x12\x00\x18" + encode_varint(link.total)
    return bytes((_LINK_TAG, len(body))) + body


def encode_node(links: Iterable[Link]) -> bytes:
    """Serialise one inner node: dag-pb links first, then the UnixFS file header."""
    links = tuple(links)
    # UnixFS Data: 1 Type = File (2), 3 filesize, 4 blocksizes (not packed).
    header = _FILE_HEADER + encode_varint(sum(link.size for link in links))
    header += b"".join(b"\x20" + encode_varint(link.size) for link in links)
    data = bytes((_DATA_TAG,)) + encode_varint(len(header)) + header
    return b"".join(_encode_link(link) for link in links) + data


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
        block = encode_node(links)
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
        parts = bytearray()
        while len(parts) < chunk_size and (part := stream.read(chunk_size - len(parts))):
            parts += part
        if not parts and not first:
            return
        yield bytes(parts)
        if len(parts) < chunk_size:
            return
        first = False


def blocks_of_stream(
    stream: Reader, profile: Profile = UNIXFS_V1_2025
) -> Iterator[tuple[Cid, bytes]]:
    """Yield every block of a file, children before parents, the root last."""
    made: list[tuple[Cid, bytes]] = []
    builder = DagBuilder(lambda cid, block: made.append((cid, block)), profile)
    for chunk in chunks(stream, profile.chunk_size):
        cid = Cid.of_block(RAW, chunk)
        builder.add(Link(cid, len(chunk), len(chunk)))
        yield cid, chunk
        yield from made
        made.clear()
    builder.finish()
    yield from made


def cid_of_file(path: Path, profile: Profile = UNIXFS_V1_2025) -> Cid:
    """Compute the CID of a file, at hashing speed and in constant memory."""
    with path.open("rb", buffering=0) as stream:
        # A file has at least one block, and the last one is the root.
        return deque(blocks_of_stream(stream, profile), maxlen=1)[0][0]


def cid_of_bytes(data: Buffer, profile: Profile = UNIXFS_V1_2025) -> Cid:
    """Compute the CID of bytes in memory, the same as of a file that holds them."""
    view = memoryview(data).cast("B")
    builder = DagBuilder(lambda _cid, _block: None, profile)
    for start in range(0, max(len(view), 1), profile.chunk_size):
        chunk = view[start : start + profile.chunk_size]
        builder.add(Link(Cid.of_block(RAW, chunk), len(chunk), len(chunk)))
    return builder.finish().cid


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
            raise CidMismatch(_NOT_OURS)
        _, at = _read_varint(block, at + 1)
        if block[at : at + 3] != _FILE_HEADER:
            raise CidMismatch(_NOT_OURS)
        return _read_varint(block, at + 3)[0]
    except IndexError as error:
        raise CidMismatch(_NOT_OURS) from error


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
            raise CidMismatch(_NOT_OURS)
        links.append(Link(Cid(codec, digest), part, total))
        at += len(_encode_link(links[-1]))
    if encode_node(links) != block:
        raise CidMismatch(_NOT_OURS)
    return links


def _read_varint(block: bytes | memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        byte = block[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise CidMismatch(_NOT_OURS)


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
