"""A computation: one question of one round, from its description alone.

INVARIANT: the description holds everything that decides the answer's bits, and nothing else, so
equal descriptions may share one answer, whichever role asks and in whichever stage.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from protocol.rules.records import JobId


@dataclass(frozen=True, slots=True)
class Work:
    """What a job's terms say about its computing; digests of 32 bytes."""

    manifest: bytes
    genesis_root: bytes
    genesis_cid: bytes
    rounds: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Included:
    """A revealed result that an update includes."""

    task: int
    root: bytes
    cid: bytes


@dataclass(frozen=True, slots=True)
class Computation:
    """A task's gradient or, where `question` is the number of tasks, the update.

    `market` is the chain id and the address of the market; `state_root` and `state_cid` name the
    state that the round starts from; `included` is empty for a task.
    """

    market: str
    job: JobId
    terms: Work
    round: int
    question: int
    state_root: bytes
    state_cid: bytes
    included: tuple[Included, ...] = ()

    @property
    def is_update(self) -> bool:
        """Tell an update from a task."""
        return self.question == self.terms.tasks

    @property
    def key(self) -> str:
        """The name of the description: 64 hex digits."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The description as a JSON object, bytes in hex."""
        terms = self.terms
        return {
            "market": self.market,
            "job": self.job,
            "manifest": terms.manifest.hex(),
            "genesis": [terms.genesis_root.hex(), terms.genesis_cid.hex()],
            "rounds": terms.rounds,
            "tasks": terms.tasks,
            "round": self.round,
            "question": self.question,
            "state": [self.state_root.hex(), self.state_cid.hex()],
            "included": [[one.task, one.root.hex(), one.cid.hex()] for one in self.included],
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Computation":
        """The reverse of `as_json`."""
        genesis_root, genesis_cid = (bytes.fromhex(part) for part in raw["genesis"])
        state_root, state_cid = (bytes.fromhex(part) for part in raw["state"])
        manifest = bytes.fromhex(raw["manifest"])
        return cls(
            market=raw["market"],
            job=JobId(raw["job"]),
            terms=Work(manifest, genesis_root, genesis_cid, raw["rounds"], raw["tasks"]),
            round=raw["round"],
            question=raw["question"],
            state_root=state_root,
            state_cid=state_cid,
            included=tuple(
                Included(task, bytes.fromhex(root), bytes.fromhex(cid))
                for task, root, cid in raw["included"]
            ),
        )


@dataclass(frozen=True, slots=True)
class Computed:
    """An answer, before it is bound to a seat; `cid` is 32 zero bytes where it is NONFINITE."""

    root: bytes
    cid: bytes
    witness: bytes
