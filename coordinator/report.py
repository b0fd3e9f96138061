"""A job as people read it: phase, tasks, checks, loss and money, from its history alone."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from protocol.rules.amounts import whole
from protocol.rules.history import JobHistory, Line, RoundHistory
from protocol.rules.records import Address, Ending, Reason, Stage, TaskResult


@dataclass(frozen=True, slots=True)
class Money:
    """Sums over a job, in the token's smallest units."""

    paid: dict[Address, int]
    slashed: dict[Address, int]
    burnt: int
    refunded: int


def money_of(past: JobHistory) -> Money:
    """Who was paid, who was slashed, what was burnt and what went back."""
    paid: Counter[Address] = Counter()
    slashed: Counter[Address] = Counter()
    burnt = refunded = 0
    for line in all_lines(past):
        if line.kind == "burn":
            burnt += line.amount
        elif line.kind == "slash":
            slashed[line.account] += line.amount
        elif line.reason == Reason.REFUND:
            refunded += line.amount
        else:
            paid[line.account] += line.amount
    return Money(dict(paid), dict(slashed), burnt, refunded)


def all_lines(past: JobHistory) -> list[Line]:
    """Every movement of the job's money, in chain order."""
    return [line for round_ in past.rounds for line in round_.lines] + past.lines


def status_of(past: JobHistory) -> str:
    """One phrase: where the job stands."""
    if past.ending != Ending.NONE:
        return past.ending.name.lower()
    current = past.open_round
    if current is None:
        return "waiting for the coordinator" if not past.rounds else "between rounds"
    return f"round {current.number}: {current.phase.name.lower().replace('_', ' ')}"


def job_fields(past: JobHistory, losses: dict[int, float]) -> dict[str, Any]:
    """Everything `job show` prints; `losses` by number of updates, 0 being the genesis."""
    money = money_of(past)
    return {
        "job": past.job,
        "status": status_of(past),
        "requester": past.requester,
        "coordinator": past.coordinator_provider,
        "manifest": past.terms.manifest.hex(),
        "state root": past.state_root.hex(),
        "updates": past.updates,
        "worker slots": len(past.roster),
        "escrow": whole(past.escrow),
        "paid": whole(sum(money.paid.values())),
        "slashed": whole(sum(money.slashed.values())),
        "burnt": whole(money.burnt),
        "refunded": whole(money.refunded),
        "rounds": [round_fields(past, round_, losses) for round_ in past.rounds],
    }


def round_fields(
    past: JobHistory, round_: RoundHistory, losses: dict[int, float]
) -> dict[str, Any]:
    """One row of the table of rounds."""
    tasks = range(past.terms.tasks)
    updates = sum(1 for r in past.rounds[: round_.number + 1] if r.update is not None)
    results = Counter(r for r in round_.results.values() if r != TaskResult.EMPTY)
    return {
        "round": round_.number,
        "phase": "final" if round_.finalised else round_.phase.name.lower(),
        "sealed": sum(round_.seal(Stage.WORK, t) is not None for t in tasks),
        "checked": sum(round_.seal(Stage.CHECK, t) is not None for t in tasks),
        "included": results[TaskResult.INCLUDED],
        "rejected": results[TaskResult.REJECTED],
        "updated": round_.update is not None,
        "loss": losses.get(updates) if round_.update is not None else None,
    }
