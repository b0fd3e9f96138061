"""What a worker earned, task by task, and why where it is nothing; from the history alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.rules.history import JobHistory, MarketHistory, RoundHistory
from protocol.rules.records import Address, JobId, Phase, Reason, Stage, TaskResult
from protocol.rules.seats import task_owners

FOR_WORK = (Reason.TASK_PAID, Reason.TASK_HALVED)

WHY = {
    TaskResult.EMPTY: "nobody sealed a result before the commit window closed",
    TaskResult.RELEASED: "drawn for a check that no verifier answered; the bond is free again",
    TaskResult.UNOPENED: "the seal was not opened in the reveal window",
    TaskResult.INCLUDED: "part of the update",
    TaskResult.LEFT_OUT: "paid, though too few gatherers held the result to include it",
    TaskResult.WITHHELD: "half: no gatherer could fetch the result",
    TaskResult.NON_FINITE: "paid: the computation itself leaves the finite numbers",
    TaskResult.REJECTED: "a panel found another result; the bond is lost",
    TaskResult.UNDECIDED: "half: a check dissented and the panel had no lead",
    TaskResult.VOID: "void round: too many checks stayed unanswered; the bond is free again",
}


@dataclass(frozen=True, slots=True)
class Earning:
    """One task of one provider; amounts in the token's smallest unit."""

    job: JobId
    round: int
    task: int
    verdict: str
    paid: int
    lost: int
    transaction: str  # that settled the task; of the seal while the round is open
    why: str


def earnings(market: MarketHistory, provider: Address) -> list[Earning]:
    """Every task that was the provider's to serve, or that it sealed or claimed, in chain order."""
    found: list[Earning] = []
    for past in market.jobs.values():
        if provider not in past.members:
            continue
        for record in past.rounds:
            found += _of_round(past, record, provider)
    return found


def _of_round(past: JobHistory, record: RoundHistory, provider: Address) -> Iterator[Earning]:
    seed = record.beacons.get(Phase.SEED)
    if seed is None:
        return  # nothing has been assigned yet
    for task, (slot, owner) in enumerate(task_owners(seed, past.terms.tasks, record.workers)):
        _, holder = record.claims.get(task, (slot, owner))
        if provider not in (owner, holder):
            continue
        lines = [line for line in record.lines if line.question == task]
        mine = [line for line in lines if line.account == provider and holder == provider]
        seal = record.seal(Stage.WORK, task) if holder == provider else None
        verdict, why = _verdict(record, task, claimed=holder != provider)
        yield Earning(
            job=past.job,
            round=record.number,
            task=task,
            verdict=verdict,
            paid=sum(line.amount for line in mine if line.reason in FOR_WORK),
            lost=sum(line.amount for line in mine if line.kind == "slash"),
            transaction=record.settled_in.get(task, seal.transaction if seal else ""),
            why=why,
        )


def _verdict(record: RoundHistory, task: int, *, claimed: bool) -> tuple[str, str]:
    if claimed:
        return "claimed", "another slot claimed the task when it was still unserved"
    result = record.results.get(task)
    if result is None:
        phase = record.phase.name.lower().replace("_", " ")
        return "open", f"the round has come to: {phase}"
    return result.name.lower().replace("_", " "), WHY[result]
