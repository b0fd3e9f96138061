"""Folding events into a MarketHistory: one small function per event name.

`apply(history, event)` is total over the market's events; an unknown name is a programmer's error,
since the contract's ABI and this table are compared by a test.
"""

from collections.abc import Callable

from protocol.rules.history import (
    Event,
    JobHistory,
    Line,
    MarketHistory,
    RoundHistory,
    Seal,
    outcome_of,
    terms_of,
)
from protocol.rules.records import (
    ZERO_ADDRESS,
    Ending,
    JobId,
    Phase,
    Reason,
    Slot,
    Stage,
    TaskResult,
)

Handler = Callable[[MarketHistory, Event], None]


def apply(history: MarketHistory, event: Event) -> None:
    """Record `event`; events must come in chain order."""
    HANDLERS[event.name](history, event)


def _job(history: MarketHistory, event: Event) -> JobHistory:
    return history.jobs[JobId(event.args["job"])]


def _round(history: MarketHistory, event: Event) -> RoundHistory:
    number: int = event.args["round"]
    return _job(history, event).round(number)


def _job_posted(history: MarketHistory, event: Event) -> None:
    terms = terms_of(event.args["terms"])
    job = JobId(event.args["job"])
    history.jobs[job] = JobHistory(
        job=job,
        requester=event.args["requester"],
        escrow=event.args["escrow"],
        terms=terms,
        posted_at=event.block,
        state_root=terms.genesis_root,
        state_cid=terms.genesis_cid,
    )


def _coordinator_accepted(history: MarketHistory, event: Event) -> None:
    _job(history, event).coordinator_provider = event.args["provider"]


def _coordinator_removed(history: MarketHistory, event: Event) -> None:
    job = _job(history, event)
    job.coordinator_provider = ZERO_ADDRESS
    if job.open_round is not None:
        job.open_round.coordinator_removed = True


def _job_stopped(history: MarketHistory, event: Event) -> None:
    _job(history, event).stopped = True


def _job_ended(history: MarketHistory, event: Event) -> None:
    job = _job(history, event)
    job.ending = Ending(event.args["ending"])
    job.ended_at = event.block
    history.forget(job)


def _worker_joined(history: MarketHistory, event: Event) -> None:
    job = _job(history, event)
    job.roster.append((Slot(event.args["slot"]), event.args["provider"]))
    job.members[event.args["provider"]] += 1


def _worker_left(history: MarketHistory, event: Event) -> None:
    _job(history, event).drop_slot(Slot(event.args["slot"]))


def _verifier_enrolled(history: MarketHistory, event: Event) -> None:
    args = event.args
    history.verifiers.enrol(Slot(args["slot"]), args["provider"], args["fromEpoch"])
    history.forget_rosters()


def _verifier_retired(history: MarketHistory, event: Event) -> None:
    history.verifiers.retire(Slot(event.args["slot"]), event.args["fromEpoch"])
    history.forget_rosters()


def _verifier_released(history: MarketHistory, event: Event) -> None:
    """A bond came free; rosters are untouched."""


def _round_opened(history: MarketHistory, event: Event) -> None:
    job = _job(history, event)
    assert event.args["round"] == job.forgotten + len(job.rounds)
    job.rounds.append(
        RoundHistory(
            number=event.args["round"],
            state_root=bytes(event.args["stateRoot"]),
            state_cid=bytes(event.args["stateCid"]),
            workers=list(job.roster),
            verifiers=event.args["verifiers"],
            epoch=event.args["epoch"],
            opened_at=event.block,
            coordinator_provider=job.coordinator_provider,
        )
    )


def _phase_changed(history: MarketHistory, event: Event) -> None:
    job = _job(history, event)
    if job.open_round is None:
        job.waits_until = event.args["deadline"]
    else:
        job.open_round.phase = Phase(event.args["phase"])
        job.open_round.started[job.open_round.phase] = event.block
        job.open_round.deadline = event.args["deadline"]
        job.open_round.beacon_block = event.args["beaconBlock"]
        if job.open_round.beacon_block:
            job.open_round.beacon_blocks[job.open_round.phase] = job.open_round.beacon_block


def _beacon_drawn(history: MarketHistory, event: Event) -> None:
    round_ = _round(history, event)
    round_.beacons[Phase(event.args["phase"])] = bytes(event.args["value"])


def _sealed(history: MarketHistory, event: Event) -> None:
    args = event.args
    seal = Seal(
        stage=Stage(args["stage"]),
        question=args["question"],
        seat=args["seat"],
        provider=args["provider"],
        operator=args["operator"],
        hash=bytes(args["hash"]),
        block=event.block,
        transaction=event.transaction,
    )
    _round(history, event).seals[seal.stage, seal.question, seal.seat] = seal


def _claimed(history: MarketHistory, event: Event) -> None:
    args = event.args
    _round(history, event).claims[args["task"]] = (Slot(args["slot"]), args["provider"])


def _passed(history: MarketHistory, event: Event) -> None:
    args, round_ = event.args, _round(history, event)
    key = (round_.phase, args["question"], args["seat"])
    round_.passed.setdefault(key, {})[args["turn"]] = event.block


def _opened(history: MarketHistory, event: Event) -> None:
    args = event.args
    key = (Stage(args["stage"]), args["question"], args["seat"])
    _round(history, event).seals[key].outcome = outcome_of(args["outcome"])


def _gathered(history: MarketHistory, event: Event) -> None:
    args = event.args
    _round(history, event).gathered[args["seat"]] = (args["provider"], args["bitmap"])


def _verdict_reached(history: MarketHistory, event: Event) -> None:
    args = event.args
    _round(history, event).verdicts[args["question"]] = (args["lead"], bytes(args["outcomeHash"]))


def _task_settled(history: MarketHistory, event: Event) -> None:
    task, round_ = event.args["task"], _round(history, event)
    round_.results[task] = TaskResult(event.args["result"])
    round_.settled_in[task] = event.transaction


def _update_accepted(history: MarketHistory, event: Event) -> None:
    job = _job(history, event)
    job.state_root = bytes(event.args["stateRoot"])
    job.state_cid = bytes(event.args["stateCid"])
    job.updates += 1
    job.states.append(job.state_cid)
    _round(history, event).update = (job.state_root, job.state_cid)


def _round_finalised(history: MarketHistory, event: Event) -> None:
    job, round_ = _job(history, event), _round(history, event)
    round_.finalised = True
    round_.finalised_at = event.block
    round_.is_void = event.args["isVoid"]
    round_.phase = Phase.WAITING
    history.forget(job)


def _money(kind: str, account: str) -> Handler:
    def handle(history: MarketHistory, event: Event) -> None:
        args = event.args
        line = Line(
            kind=kind,
            account=args[account] if account else ZERO_ADDRESS,
            question=args["question"],
            reason=Reason(args["reason"]),
            amount=args["amount"],
            transaction=event.transaction,
        )
        job = _job(history, event)
        lines = job.lines if line.reason == Reason.REFUND else job.round(args["round"]).lines
        lines.append(line)
        if kind == "slash":
            job.slashed.add(line.account)
        history.money[line.account, kind, line.reason] += line.amount

    return handle


HANDLERS: dict[str, Handler] = {
    "JobPosted": _job_posted,
    "CoordinatorAccepted": _coordinator_accepted,
    "CoordinatorRemoved": _coordinator_removed,
    "JobStopped": _job_stopped,
    "JobEnded": _job_ended,
    "WorkerJoined": _worker_joined,
    "WorkerLeft": _worker_left,
    "VerifierEnrolled": _verifier_enrolled,
    "VerifierRetired": _verifier_retired,
    "VerifierReleased": _verifier_released,
    "RoundOpened": _round_opened,
    "PhaseChanged": _phase_changed,
    "BeaconDrawn": _beacon_drawn,
    "Sealed": _sealed,
    "Claimed": _claimed,
    "Passed": _passed,
    "Opened": _opened,
    "Gathered": _gathered,
    "VerdictReached": _verdict_reached,
    "TaskSettled": _task_settled,
    "UpdateAccepted": _update_accepted,
    "RoundFinalised": _round_finalised,
    "Credited": _money("credit", "account"),
    "Slashed": _money("slash", "provider"),
    "Burnt": _money("burn", ""),
}
