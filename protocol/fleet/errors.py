"""What can go wrong between a role and its consumers."""

from protocol.rules.errors import GradproofError


class FleetError(GradproofError):
    """Computing for a role failed."""


class LeaseLost(FleetError):
    """Somebody else has the computation now, or nobody wants it any more."""

    def __init__(self, key: str, token: int) -> None:
        super().__init__(
            f"lease {token} of computation {key[:12]} is over",
            why="It ran out and was given to another consumer, or its round has ended.",
            fix="Nothing is lost. If it happens often, raise GRADPROOF_LEASE_SECONDS.",
        )


class DeviceFailed(FleetError):
    """A GPU broke off a computation; this process can compute nothing more on it."""

    def __init__(self, device: str, why: str) -> None:
        super().__init__(
            f"the device {device} has failed",
            why=why,
            fix="Its consumer starts anew; if this goes on, see `nvidia-smi` and the system's log.",
        )


class OutOfMemory(FleetError):
    """A device has no memory left for a computation; another one may have it."""

    def __init__(self, device: str, why: str) -> None:
        super().__init__(
            f"the device {device} has run out of memory",
            why=why,
            fix="End what else computes on it, or leave this job to larger devices.",
        )


class ComputationFailed(FleetError):
    """Too many attempts at this ended in a crash or in silence."""

    def __init__(self, question: int, round_: int, attempts: int, last: str) -> None:
        super().__init__(
            f"question {question} of round {round_} was given up after {attempts} attempts",
            why=last or "Whoever took it vanished.",
            fix="Look for what ends consumers, memory first: `gradproof doctor`, the system's log.",
        )
