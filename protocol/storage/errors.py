"""Every error the content store raises.

    StorageError
    ├── MalformedCid        the text or bytes are no CID this system uses
    ├── CidMismatch         the bytes are not what the CID names, or not in the one agreed profile
    ├── LimitExceeded       the content, or a free-space quota, is over what the caller allows
    ├── NotFound            no source has the block
    ├── SourceFailed        one source broke off, timed out or answered nonsense; others are tried
    ├── BlockRejected       a source sent something that is not the block asked for
    ├── StoreUnavailable    no source answers
    ├── NodeLocked          another process already serves this folder
    └── NodeFailed          the embedded node did not start or stop

Each message says what happened, why, and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.rules.errors import GradproofError

if TYPE_CHECKING:
    from protocol.storage.cid import Cid


class StorageError(GradproofError):
    """Something in the content store went wrong; the root of the area's errors."""


class MalformedCid(StorageError):
    """The text or bytes are not a CIDv1 with a raw or dag-pb codec and a sha2-256 digest."""


class CidMismatch(StorageError):
    """The content does not re-import to its CID, so nothing may rest on it."""


class LimitExceeded(StorageError):
    """The content is larger than the caller allows, or the disk quota is used up."""


class NotFound(StorageError):
    """Every source answered, and none of them has the block."""


class StoreUnavailable(StorageError):
    """No source could be reached, or all of them were dropped."""


class SourceFailed(StorageError):
    """One source did not answer a request properly; the caller may ask another."""


class NodeLocked(StorageError):
    """Another process already serves this block folder."""


class NodeFailed(StorageError):
    """The embedded node did not start, or did not stop when asked."""


class BlockRejected(StorageError):
    """A source answered with bytes that are not the block asked for.

    `source` is its address, `cid` the block, `why` the evidence.
    """

    def __init__(self, source: str, cid: Cid, why: str) -> None:
        super().__init__(
            f"{source} sent a wrong block for {cid}",
            why=why,
            fix="The source is dropped; remove it from the configured sources if this repeats.",
        )
        self.source = source
        self.cid = cid
