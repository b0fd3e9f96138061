"""Content identifiers: the name of a block, derived from its bytes alone.

Only what the protocol uses is accepted: CIDv1, codec raw or dag-pb, sha2-256. The text form is
lower-case base32 without padding. INVARIANT: a `Cid` has exactly one text and one binary form, so
values may be compared, hashed and stored as keys.

Source: https://github.com/multiformats/cid
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from protocol.storage.errors import MalformedCid

RAW: Final = 0x55
DAG_PB: Final = 0x70
DIGEST_BYTES: Final = 32
CID_BYTES: Final = 4 + DIGEST_BYTES

_VERSION: Final = 0x01
_SHA2_256: Final = 0x12
_NAMES: Final = {RAW: "raw", DAG_PB: "dag-pb"}


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """The name of one block: its codec (`RAW` or `DAG_PB`) and the sha2-256 of its bytes."""

    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if self.codec not in _NAMES:
            raise MalformedCid(f"codec {self.codec:#x} is neither raw (0x55) nor dag-pb (0x70).")
        if len(self.digest) != DIGEST_BYTES:
            raise MalformedCid(f"a sha2-256 digest has 32 bytes, this one has {len(self.digest)}.")

    @classmethod
    def raw(cls, digest: bytes) -> Cid:
        """Name a raw block, that is a file of at most one chunk, by its sha2-256 digest."""
        return cls(RAW, digest)

    @classmethod
    def of_block(cls, codec: int, block: bytes | bytearray | memoryview) -> Cid:
        """Hash a block into its name."""
        return cls(codec, hashlib.sha256(block).digest())

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Read the 36-byte binary form. Raises `MalformedCid`."""
        if len(data) != CID_BYTES:
            raise MalformedCid(f"a binary CIDv1 with sha2-256 has 36 bytes, this has {len(data)}.")
        version, codec, hash_code, length = data[:4]
        if version != _VERSION or hash_code != _SHA2_256 or length != DIGEST_BYTES:
            raise MalformedCid(
                f"{data.hex()} is not a CIDv1 with a sha2-256 digest. "
                "Publish the content again with the unixfs-v1-2025 profile."
            )
        return cls(codec, data[4:])

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read the text form, lower-case base32 beginning with `b`. Raises `MalformedCid`."""
        body = text[1:]
        # The length is fixed, so hostile text is refused before it is decoded or echoed.
        if text[:1] != "b" or len(body) != 58 or body != body.lower() or not body.isascii():
            raise MalformedCid(
                f"{text[:80]!r} is not a base32 CIDv1 ('baf...', 59 characters). "
                "Convert it with `ipfs cid base32`, or publish the content again."
            )
        try:
            data = base64.b32decode(body.upper() + "======")
        except binascii.Error as error:
            raise MalformedCid(f"{text!r} is not base32: {error}.") from error
        cid = cls.from_bytes(data)
        # base32 leaves two spare bits; a second spelling of the same name is refused.
        if str(cid) != text:
            raise MalformedCid(f"{text!r} is not the canonical spelling of {cid}.")
        return cid

    def matches(self, block: bytes | bytearray | memoryview) -> bool:
        """Tell whether these bytes are the block this CID names."""
        return hashlib.sha256(block).digest() == self.digest

    def __bytes__(self) -> bytes:
        return bytes((_VERSION, self.codec, _SHA2_256, DIGEST_BYTES)) + self.digest

    def __str__(self) -> str:
        return "b" + base64.b32encode(bytes(self)).decode("ascii").lower().rstrip("=")

    def __repr__(self) -> str:
        return f"Cid({self})"
