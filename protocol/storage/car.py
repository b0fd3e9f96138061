"""CAR v1: a DAG as one stream of named blocks.

Used to push our own blocks into a daemon that would cut the file differently, and by the embedded
node to import and export. A stream has exactly one root.

INVARIANT: a block read from a CAR has been hashed.

Source: https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from protocol.storage.cid import CID_BYTES, Cid
from protocol.storage.errors import CidMismatch, LimitExceeded
from protocol.storage.unixfs import MAX_BLOCK, Reader, encode_varint

# dag-cbor of {"roots": [CID], "version": 1}; a CID is tag 42 around 0x00 and its binary form.
_HEAD: Final = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
_TAIL: Final = b"\x67version\x01"
_HEADER_BYTES: Final = len(_HEAD) + CID_BYTES + len(_TAIL)


def write_car(root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> Iterator[bytes]:
    """Yield the pieces of a CAR with this root and these blocks, in the order given."""
    yield bytes((_HEADER_BYTES,)) + _HEAD + bytes(root) + _TAIL
    for cid, block in blocks:
        yield encode_varint(CID_BYTES + len(block)) + bytes(cid)
        yield block


def read_car_root(stream: Reader) -> Cid:
    """Read the header and return the one root. Raises `CidMismatch` on any other header."""
    header = _read_exactly(stream, 1 + _HEADER_BYTES)
    if (
        header[0] != _HEADER_BYTES
        or header[1 : 1 + len(_HEAD)] != _HEAD
        or header[-len(_TAIL) :] != _TAIL
    ):
        raise CidMismatch(
            "the stream is not a CAR v1 with exactly one sha2-256 root. "
            "Export one root with `ipfs dag export <cid>`."
        )
    return Cid.from_bytes(header[1 + len(_HEAD) : -len(_TAIL)])


def read_car_blocks(stream: Reader, max_block: int = MAX_BLOCK) -> Iterator[tuple[Cid, bytes]]:
    """Yield the verified blocks that follow the header, holding one block in memory.

    Raises `LimitExceeded` for a block over `max_block` bytes, `CidMismatch` for one that is
    cut short or does not hash to its name.
    """
    while (length := _read_varint(stream)) is not None:
        if not CID_BYTES <= length <= CID_BYTES + max_block:
            raise LimitExceeded(
                f"a CAR section of {length} bytes is no CIDv1 block of at most {max_block} bytes."
            )
        section = _read_exactly(stream, length)
        cid, block = Cid.from_bytes(section[:CID_BYTES]), section[CID_BYTES:]
        if not cid.matches(block):
            raise CidMismatch(f"the CAR holds bytes under {cid} that do not hash to it.")
        yield cid, block


def _read_varint(stream: Reader) -> int | None:
    value = 0
    for shift in range(0, 35, 7):
        byte = stream.read(1)
        if not byte:
            if shift == 0:
                return None
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise CidMismatch("the CAR is cut short or has a length that is no varint.")


def _read_exactly(stream: Reader, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = stream.read(count - len(parts))
        if not part:
            raise CidMismatch(f"the CAR ends {count - len(parts)} bytes too early.")
        parts += part
    return bytes(parts)
