"""What a role must not lose between sealing and opening: salts, witnesses, outcomes.

One small JSON file per seal, written and fsynced before the seal leaves the machine. A second
process that holds a copy can open on this role's behalf.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from protocol.rules.history import MarketHistory
from protocol.rules.records import Ending, JobId, Outcome, Stage
from protocol.rules.sealing import SealContext, seal, witness_hash

Key = tuple[JobId, int, Stage, int, int]
SAFE_BLOCKS: Final = 64
"""A job that has been over for so long will not be undone by a reorganisation."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Everything needed to seal and later to open one seat of one question."""

    job: JobId
    round: int
    stage: Stage
    question: int
    seat: int
    root: bytes
    cid: bytes
    witness: bytes
    salt: bytes
    hash: bytes

    @property
    def key(self) -> Key:
        """Which seat this opening is for."""
        return (self.job, self.round, self.stage, self.question, self.seat)

    @property
    def outcome(self) -> Outcome:
        """The outcome as the chain compares it."""
        h = witness_hash(self.job, self.round, self.question, self.witness)
        return Outcome(self.root, self.cid, h)

    @property
    def shown(self) -> tuple[Any, ...]:
        """What `open` takes of it: stage, question, seat, outcome, salt."""
        outcome = (self.outcome.root, self.outcome.cid, self.outcome.h)
        return (int(self.stage), self.question, self.seat, outcome, self.salt)


def make_opening(
    context: SealContext, seat: int, root: bytes, cid: bytes, witness: bytes, salt: bytes
) -> Opening:
    """Bind an answer to its seat; panels seal the witness, everybody else its hash."""
    panel = context.stage in (Stage.PANEL, Stage.UPDATE_PANEL)
    hidden = (
        witness if panel else witness_hash(context.job, context.round, context.question, witness)
    )
    return Opening(
        job=context.job,
        round=context.round,
        stage=context.stage,
        question=context.question,
        seat=seat,
        root=root,
        cid=cid,
        witness=witness,
        salt=salt,
        hash=seal(context, root, cid, hidden, salt),
    )


def new_salt() -> bytes:
    """32 bytes that nobody can guess."""
    return secrets.token_bytes(32)


class OpeningStore:
    """The openings of one role, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[Key, Opening] = {}
        for path in sorted(folder.glob("*.json")):
            opening = _read(path)
            self._known[opening.key] = opening

    def all(self) -> Mapping[Key, Opening]:
        """What is known, by seat; it shows what is saved later, too."""
        return MappingProxyType(self._known)

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def save(self, opening: Opening) -> None:
        """Write `opening` for good; an earlier one of the same seat is never replaced."""
        if opening.key in self._known:
            return
        path = self._path(opening.key)
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(_fields(opening), file)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, fails where another process of this role was first.
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        self._known[opening.key] = _read(path)

    def tidy(self, market: MarketHistory, block: int) -> None:
        """Let go, in memory and on disk, of what no window can ask for any more.

        INVARIANT: a round's openings stay until its history has been forgotten, a job's last ones
        until its end is too old to be undone.
        """
        for key in [key for key in self._known if _is_past(key, market, block)]:
            self._path(key).unlink(missing_ok=True)
            del self._known[key]

    def _path(self, key: Key) -> Path:
        return self.folder / f"{'-'.join(str(int(part)) for part in key)}.json"


def _is_past(key: Key, market: MarketHistory, block: int) -> bool:
    past = market.jobs.get(key[0])
    if past is None:
        return False  # not read yet
    if past.ending != Ending.NONE:
        return block > past.ended_at + SAFE_BLOCKS
    return key[1] < past.forgotten


def _fields(opening: Opening) -> dict[str, int | str]:
    return {
        "job": opening.job,
        "round": opening.round,
        "stage": int(opening.stage),
        "question": opening.question,
        "seat": opening.seat,
        **{
            name: getattr(opening, name).hex()
            for name in ("root", "cid", "witness", "salt", "hash")
        },
    }


def _read(path: Path) -> Opening:
    raw = json.loads(path.read_text())
    return Opening(
        job=JobId(raw["job"]),
        round=raw["round"],
        stage=Stage(raw["stage"]),
        question=raw["question"],
        seat=raw["seat"],
        root=bytes.fromhex(raw["root"]),
        cid=bytes.fromhex(raw["cid"]),
        witness=bytes.fromhex(raw["witness"]),
        salt=bytes.fromhex(raw["salt"]),
        hash=bytes.fromhex(raw["hash"]),
    )
