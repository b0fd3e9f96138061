"""Folding events: each one leaves its mark and nothing else, in chain order."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.rules.fold import HANDLERS, apply
from protocol.rules.history import Event, JobHistory, MarketHistory, RoundHistory, VerifierRosters
from protocol.rules.records import (
    ZERO_ADDRESS,
    Ending,
    Phase,
    Reason,
    Stage,
    TaskResult,
)
from tests.support.rounds import JOB, address, digest, make_terms

ALICE, BOB, CARA = address(1), address(2), address(3)
Feed = Callable[..., None]


def raw_terms() -> dict[str, Any]:
    """Terms as the ABI decodes them: camelCase, a nested struct."""
    terms = make_terms()
    raw: dict[str, Any] = {}
    for name in terms.__slots__:
        head, *rest = name.split("_")
        raw[head + "".join(part.title() for part in rest)] = getattr(terms, name)
    windows = {}
    for name in terms.windows.__slots__:
        head, *rest = name.split("_")
        windows[head + "".join(part.title() for part in rest)] = getattr(terms.windows, name)
    raw["windows"] = windows
    return raw


def posted(history: MarketHistory) -> MarketHistory:
    """The history, after one job was posted."""
    args = {"job": 1, "requester": ALICE, "escrow": 5000, "terms": raw_terms()}
    apply(history, Event("JobPosted", args, block=10, log=0, transaction="0xaa"))
    return history


def feeding(history: MarketHistory) -> Feed:
    """Something that folds events of the job into it."""

    def send(name: str, **args: Any) -> None:
        apply(history, Event(name, {"job": 1, **args}, block=20, log=0, transaction="0xbb"))

    return send


@pytest.fixture
def market() -> MarketHistory:
    """A market with one posted job."""
    return posted(MarketHistory())


@pytest.fixture
def feed(market: MarketHistory) -> Feed:
    return feeding(market)


@pytest.fixture
def job(market: MarketHistory) -> JobHistory:
    return market.jobs[JOB]


@pytest.fixture
def open_round(feed: Feed, job: JobHistory) -> RoundHistory:
    feed("CoordinatorAccepted", provider=CARA, operator=CARA)
    feed("WorkerJoined", slot=1, provider=BOB, operator=BOB)
    feed(
        "RoundOpened",
        round=0,
        stateRoot=digest("s"),
        stateCid=digest("c"),
        workers=1,
        verifiers=9,
        epoch=4,
    )
    return job.rounds[0]


def test_job_posted_starts_with_the_genesis_state(job: JobHistory) -> None:
    assert job.terms == make_terms()
    assert (job.requester, job.escrow, job.posted_at) == (ALICE, 5000, 10)
    assert job.state_root == job.terms.genesis_root
    assert job.state_cid == job.terms.genesis_cid


def test_round_opened_freezes_roster_and_coordinator(
    feed: Feed, job: JobHistory, open_round: RoundHistory
) -> None:
    assert open_round.workers == [(1, BOB)]
    assert (open_round.coordinator_provider, open_round.epoch) == (CARA, 4)
    assert open_round.opened_at == 20
    feed("WorkerJoined", slot=2, provider=ALICE, operator=ALICE)
    assert open_round.workers == [(1, BOB)]
    assert job.roster == [(1, BOB), (2, ALICE)]


def test_worker_left_swaps_the_last_slot_into_the_gap(feed: Feed, job: JobHistory) -> None:
    for slot, provider in enumerate([ALICE, BOB, CARA], start=1):
        feed("WorkerJoined", slot=slot, provider=provider, operator=provider)
    feed("WorkerLeft", slot=1, provider=ALICE)
    assert job.roster == [(3, CARA), (2, BOB)]
    feed("WorkerLeft", slot=2, provider=BOB)
    assert job.roster == [(3, CARA)]
    feed("WorkerLeft", slot=3, provider=CARA)
    assert job.roster == []
    assert job.members == {ALICE: 1, BOB: 1, CARA: 1}


def test_verifier_rosters_change_with_the_epoch_named(market: MarketHistory, feed: Feed) -> None:
    for slot, provider in enumerate([ALICE, BOB, CARA], start=1):
        feed("VerifierEnrolled", slot=slot, provider=provider, operator=provider, fromEpoch=5)
    feed("VerifierRetired", slot=1, provider=ALICE, fromEpoch=7)
    feed("VerifierReleased", slot=1, provider=ALICE)
    rosters = market.verifiers
    assert rosters.at(4) == ()
    assert rosters.at(5) == rosters.at(6) == ((1, ALICE), (2, BOB), (3, CARA))
    assert rosters.at(7) == rosters.at(99) == ((3, CARA), (2, BOB))


def test_verifier_roster_of_an_epoch_is_its_last_change() -> None:
    rosters = VerifierRosters()
    rosters.enrol(1, ALICE, 3)  # type: ignore[arg-type]  # slots are integers
    rosters.enrol(2, BOB, 3)  # type: ignore[arg-type]  # slots are integers
    assert rosters.at(3) == ((1, ALICE), (2, BOB))
    assert rosters.at(2) == ()
    assert len(rosters.past) == 1, "one copy for each epoch that changes it, not for each change"


def test_phase_and_beacon_are_recorded(feed: Feed, open_round: RoundHistory) -> None:
    feed("PhaseChanged", round=0, phase=4, deadline=0, beaconBlock=77)
    assert (open_round.phase, open_round.beacon_block) == (Phase.DRAW, 77)
    feed("BeaconDrawn", round=0, phase=4, value=digest("beacon"))
    assert open_round.beacons == {Phase.DRAW: digest("beacon")}


def test_phase_between_rounds_leaves_the_last_round_alone(
    feed: Feed, job: JobHistory, open_round: RoundHistory
) -> None:
    feed("RoundFinalised", round=0, updated=False, isVoid=True)
    feed("PhaseChanged", round=1, phase=1, deadline=99, beaconBlock=0)
    assert job.open_round is None
    assert open_round.is_void
    assert open_round.finalised_at == 20
    assert open_round.deadline == 0


def test_seal_and_its_opening(feed: Feed, open_round: RoundHistory) -> None:
    where = {"round": 0, "stage": 3, "question": 2, "seat": 1, "provider": BOB}
    feed("Sealed", **where, operator=ALICE, hash=digest("seal"))
    seal = open_round.seal(Stage.PANEL, 2, 1)
    assert seal is not None
    assert (seal.provider, seal.operator, seal.hash) == (BOB, ALICE, digest("seal"))
    assert seal.outcome is None
    assert open_round.seal(Stage.PANEL, 2, 0) is None
    outcome = {"root": digest("r"), "cid": digest("c"), "h": digest("h")}
    feed("Opened", **where, outcome=outcome)
    assert seal.outcome is not None
    assert seal.outcome.h == digest("h")


def test_seals_of_a_question_come_by_seat(feed: Feed, open_round: RoundHistory) -> None:
    for seat in (2, 0, 1):
        where = {"round": 0, "stage": 3, "question": 2, "seat": seat}
        feed("Sealed", **where, provider=BOB, operator=BOB, hash=digest(seat))
    feed("Sealed", round=0, stage=3, question=1, seat=0, provider=BOB, operator=BOB, hash=digest(9))
    assert [seal.seat for seal in open_round.seals_of(Stage.PANEL, 2)] == [0, 1, 2]


def test_gathering_verdict_and_result_are_recorded(feed: Feed, open_round: RoundHistory) -> None:
    feed("Gathered", round=0, seat=1, provider=BOB, bitmap=0b101)
    feed("VerdictReached", round=0, question=2, lead=True, outcomeHash=digest("o"))
    feed("TaskSettled", round=0, task=2, result=3)
    assert open_round.gathered == {1: (BOB, 0b101)}
    assert open_round.verdicts == {2: (True, digest("o"))}
    assert open_round.results == {2: TaskResult.INCLUDED}


def test_update_moves_the_job_on(feed: Feed, job: JobHistory, open_round: RoundHistory) -> None:
    feed("UpdateAccepted", round=0, stateRoot=digest("r1"), stateCid=digest("c1"))
    assert (job.state_root, job.state_cid, job.updates) == (digest("r1"), digest("c1"), 1)
    assert open_round.update == (digest("r1"), digest("c1"))
    assert open_round.state_root == digest("s")


def test_lost_post_leaves_the_round_with_the_coordinator_it_had(
    feed: Feed, job: JobHistory, open_round: RoundHistory
) -> None:
    feed("CoordinatorRemoved", provider=CARA)
    assert job.coordinator_provider == ZERO_ADDRESS
    assert open_round.coordinator_removed
    assert open_round.coordinator_provider == CARA


def test_money_goes_to_its_round_and_refunds_to_the_job(
    feed: Feed, job: JobHistory, open_round: RoundHistory
) -> None:
    feed("Credited", round=0, account=BOB, question=2, reason=0, amount=5)
    assert job.slashed == set()
    feed("Slashed", round=0, provider=CARA, question=2, reason=8, amount=6)
    assert job.slashed == {CARA}
    feed("Burnt", round=0, question=2, reason=12, amount=7)
    feed("RoundFinalised", round=0, updated=False, isVoid=False)
    feed("Credited", round=1, account=ALICE, question=4, reason=13, amount=8)
    assert [line.key for line in open_round.lines] == [
        ("credit", BOB, 2, Reason.TASK_PAID, 5),
        ("slash", CARA, 2, Reason.WRONG, 6),
        ("burn", ZERO_ADDRESS, 2, Reason.REMAINDER, 7),
    ]
    assert [line.key for line in job.lines] == [("credit", ALICE, 4, Reason.REFUND, 8)]


def test_end_of_a_job(feed: Feed, job: JobHistory) -> None:
    feed("JobStopped")
    feed("JobEnded", ending=2)
    assert job.stopped
    assert job.ending == Ending.STOPPED


def test_unknown_event_is_a_programmers_error(feed: Feed) -> None:
    assert "Nonsense" not in HANDLERS
    with pytest.raises(KeyError):
        feed("Nonsense")


def test_role_forgets_old_rounds_and_nothing_else() -> None:
    """It has as much in mind after seven rounds as after two; sums and states stay."""
    whole, slim = posted(MarketHistory()), posted(MarketHistory(remember=2))
    for history in (whole, slim):
        play_rounds(feeding(history), 7)
    past, full = slim.jobs[JOB], whole.jobs[JOB]
    assert [r.number for r in past.rounds] == [5, 6]
    assert past.rounds == full.rounds[5:]
    assert past.round(6) is past.rounds[-1]
    assert past.states == full.states == [digest("cid", n) for n in range(7)]
    assert slim.money == whole.money
    assert slim.money[BOB, "credit", Reason.TASK_PAID] == 7 * 5
    with pytest.raises(AssertionError, match="round 4 is forgotten"):
        past.round(4)


def test_role_forgets_the_rounds_of_a_job_that_is_over() -> None:
    """As many jobs as it has seen end, none leaves a round behind; sums and states stay."""
    whole, slim = posted(MarketHistory()), posted(MarketHistory(remember=2))
    for history in (whole, slim):
        play_rounds(feeding(history), 3)
        feeding(history)("JobEnded", ending=1)
        feeding(history)("Credited", account=ALICE, question=4, reason=13, amount=8)
    past, full = slim.jobs[JOB], whole.jobs[JOB]
    assert (len(full.rounds), past.rounds, past.forgotten) == (3, [], 3)
    assert past.ended_at == full.ended_at == 20
    assert (past.states, past.lines, slim.money) == (full.states, full.lines, whole.money)


def test_role_forgets_the_rosters_of_epochs_that_no_round_in_mind_uses() -> None:
    """Verifiers come for years: one roster for each of their epochs would be their square."""
    whole, slim = posted(MarketHistory()), posted(MarketHistory(remember=2))
    for history in (whole, slim):
        feed = feeding(history)
        for epoch in range(5, 25):
            enrol = {"slot": epoch, "provider": BOB, "operator": BOB}
            feed("VerifierEnrolled", **enrol, fromEpoch=epoch + 1)
            if epoch == 15:
                state = {"stateRoot": digest("root"), "stateCid": digest("cid")}
                feed("RoundOpened", round=0, **state, workers=0, verifiers=10, epoch=15)
    assert len(whole.verifiers.past) == 20
    assert [since for since, _ in slim.verifiers.past] == list(range(15, 25))
    for epoch in range(15, 30):
        assert slim.verifiers.at(epoch) == whole.verifiers.at(epoch)
    feeding(slim)("RoundFinalised", round=0, updated=True, isVoid=False)
    feeding(slim)("JobEnded", ending=1)
    feeding(slim)("VerifierEnrolled", slot=1, provider=BOB, operator=BOB, fromEpoch=27)
    # In epoch 26 a round may still be opened.
    assert [since for since, _ in slim.verifiers.past] == [25]


def play_rounds(feed: Feed, rounds: int) -> None:
    """Rounds in which Bob is paid and the state moves on."""
    for n in range(rounds):
        state = {"stateRoot": digest("root", n), "stateCid": digest("cid", n)}
        feed("RoundOpened", round=n, **state, workers=0, verifiers=9, epoch=4)
        feed("Credited", round=n, account=BOB, question=2, reason=0, amount=5)
        feed("UpdateAccepted", round=n, **state)
        feed("RoundFinalised", round=n, updated=True, isVoid=False)
