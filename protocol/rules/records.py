"""The protocol's values, one to one with contracts/src/types/Types.sol.

Amounts are integers in the token's smallest unit, times are block numbers, digests are 32 raw
bytes. Bit i of a bitmap speaks of task i.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NewType

JobId = NewType("JobId", int)
Address = NewType("Address", str)  # EIP-55 checksummed, "0x" + 40 hex digits
Slot = NewType("Slot", int)

ZERO_ADDRESS = Address("0x" + "0" * 40)
ZERO32 = bytes(32)


class Phase(IntEnum):
    """Where a round stands; the order is the order of the flow."""

    NONE = 0
    WAITING = 1
    SEED = 2
    COMMIT = 3
    DRAW = 4
    CHECK = 5
    REDRAW = 6
    RECHECK = 7
    REVEAL = 8
    GATHER = 9
    VERDICT_DRAW = 10
    VERDICT_SEAL = 11
    VERDICT_OPEN = 12
    UPDATE = 13
    SUCCESSION = 14
    UPDATE_DRAW = 15
    UPDATE_CHECK = 16
    UPDATE_OPEN = 17
    UPDATE_CHALLENGE = 18
    UPDATE_VERDICT_DRAW = 19
    UPDATE_VERDICT_SEAL = 20
    UPDATE_VERDICT_OPEN = 21
    FINALISE = 22
    ENDED = 23


class Stage(IntEnum):
    """What a seal is for; part of the sealed bytes."""

    WORK = 0
    CHECK = 1
    CHALLENGE = 2
    PANEL = 3
    UPDATE = 4
    UPDATE_CHECK = 5
    UPDATE_CHALLENGE = 6
    UPDATE_PANEL = 7


class Reason(IntEnum):
    """Why money moved."""

    TASK_PAID = 0
    TASK_HALVED = 1
    CHECK_PAID = 2
    GATHER_PAID = 3
    UPDATE_PAID = 4
    UPDATE_CHECK_PAID = 5
    PANEL_PAID = 6
    RAISER_PAID = 7
    WRONG = 8
    UNOPENED = 9
    LIVENESS = 10
    PANEL_COSTS = 11
    REMAINDER = 12
    REFUND = 13


class Ending(IntEnum):
    """Why a job ended."""

    NONE = 0
    COMPLETED = 1
    STOPPED = 2
    FAILED = 3


class TaskResult(IntEnum):
    """How a task of a finished round came out."""

    EMPTY = 0
    RELEASED = 1
    UNOPENED = 2
    INCLUDED = 3
    LEFT_OUT = 4
    WITHHELD = 5
    NON_FINITE = 6
    REJECTED = 7
    UNDECIDED = 8
    VOID = 9


@dataclass(frozen=True, slots=True)
class Windows:
    """Length of each window in blocks."""

    waiting: int
    commit: int
    check: int
    reveal: int
    gather: int
    verdict_seal: int
    verdict_open: int
    update: int
    update_check: int
    update_open: int
    update_challenge: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What a requester posts; frozen for the life of the job."""

    manifest: bytes
    genesis_root: bytes
    genesis_cid: bytes
    coordinator: Address
    rounds: int
    tasks: int
    checks: int
    gatherers: int
    panel: int
    max_failed_rounds: int
    min_workers: int
    min_verifiers: int
    reward: int
    fee: int
    update_fee: int
    bond: int
    coordinator_bond: int
    windows: Windows

    @property
    def update_question(self) -> int:
        """The update is handled as one more question beside the tasks."""
        return self.tasks


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole answer of whoever computed a task or an update."""

    root: bytes
    cid: bytes
    h: bytes


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, as far as it goes on between rounds."""

    requester: Address
    coordinator_provider: Address
    round: int
    updates: int
    failed_rounds: int
    stopped: bool
    ending: Ending
    state_root: bytes
    state_cid: bytes
    worker_slots: int


@dataclass(frozen=True, slots=True)
class RoundView:
    """The open round."""

    number: int
    phase: Phase
    opened_at: int
    deadline: int
    beacon_block: int
    epoch: int
    workers: int
    verifiers: int
    seed: bytes
    draw: bytes
    redraw: bytes
    panel_draw: bytes
    update_draw: bytes
    update_panel_draw: bytes
    claimed: int
    sealed_tasks: int
    drawn: int
    answered: int
    opened_tasks: int
    opened_checks: int
    disputed: int
    challenged: int
    included: int
    gathered: int
    update_answered: int
    update_opened: int
    proposed: bool
    proposer: int
    proposal_opened: bool
    update_disputed: bool
    update_challenged: bool
    is_void: bool


def bits(bitmap: int) -> list[int]:
    """Positions of the set bits, ascending."""
    return [i for i in range(bitmap.bit_length()) if bitmap >> i & 1]
