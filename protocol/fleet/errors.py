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


class ComputationFailed(FleetError):
    """Too many consumers ended while they computed this."""

    def __init__(self, question: int, round_: int, attempts: int, last: str) -> None:
        super().__init__(
            f"question {question} of round {round_} was given up after {attempts} attempts",
            why=last or "Every consumer that took it vanished.",
            fix="Look for what ends consumers, memory first: `gradproof doctor`, the system's log.",
        )
