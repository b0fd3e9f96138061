"""Looking at sources one by one: who has a file, how full a daemon is, what its collector removed.

Nothing is raised for a source that fails: a survey says what it found there instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.storage.cid import RAW, Cid
from protocol.storage.errors import (
    BlockRejected,
    NotFound,
    SourceFailed,
    StorageError,
)
from protocol.storage.unixfs import declared_size

if TYPE_CHECKING:
    from protocol.storage.sources import ApiSource, GatewaySource


@dataclass(frozen=True, slots=True)
class Holding:
    """What one source has of a file: `here`, `missing`, `wrong` or `silent`; its size in bytes."""

    name: str
    state: str
    size: int | None = None
    pinned: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """A daemon: version, blocks, their bytes, the most it would keep; or why it is silent."""

    name: str
    version: str = ""
    blocks: int | None = None
    size: int | None = None
    most: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """How many blocks a daemon has removed, or why none."""

    name: str
    blocks: int | None = None
    why: str = ""


def find(cid: Cid, apis: Sequence[ApiSource], gateways: Sequence[GatewaySource]) -> list[Holding]:
    """Ask every source by itself for the root block of a file."""
    return [_ask(api, cid, api.has_pin) for api in apis] + [_ask(each, cid) for each in gateways]


def _ask(
    source: ApiSource | GatewaySource,
    cid: Cid,
    has_pin: Callable[[Cid], bool] = lambda _cid: False,
) -> Holding:
    try:
        block = source.get_block(cid)
        if not cid.matches(block):
            raise BlockRejected(source.name, cid, f"{len(block)} bytes that are another block")
        size = len(block) if cid.codec == RAW else declared_size(block)
        return Holding(source.name, "here", size, has_pin(cid))
    except NotFound:
        return Holding(source.name, "missing")
    except BlockRejected as error:
        return Holding(source.name, "wrong", why=error.why)
    except StorageError as error:
        return Holding(source.name, "silent", why=str(error))


def describe(apis: Sequence[ApiSource]) -> list[Usage]:
    """Ask every daemon how much it stores."""
    found = []
    for api in apis:
        try:
            found.append(api.usage())
        except SourceFailed as error:
            found.append(Usage(api.name, why=str(error)))
    return found


def collect(apis: Sequence[ApiSource]) -> list[Collected]:
    """Have every daemon remove what nobody pins."""
    done = []
    for api in apis:
        try:
            done.append(Collected(api.name, api.collect()))
        except SourceFailed as error:
            done.append(Collected(api.name, why=str(error)))
    return done
