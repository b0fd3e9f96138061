"""Rows 11, 22 and 27: somebody takes over from whoever is silent, and answers for it in turn."""

import pytest

from protocol.chain.errors import ContractRejected
from protocol.rules.records import Phase, Stage, bits
from tests.support.market_play import ANYBODY, BOND, COORDINATOR, TRUE, WORKERS, Play


def candidate(play: Play, stage: Stage, question: int, seat: int, turn: int) -> str:
    """Who is asked in a turn."""
    place = (play.job, stage, question, seat, turn)
    return str(play.chain.call(play.market, "holderOf", *place)[1])


def answer_in_turn(play: Play, task: int, turn: int) -> str:
    """Candidate number `turn` seals the check of a task."""
    provider = candidate(play, Stage.CHECK, task, 0, turn)
    opening = play.prepare(Stage.CHECK, task, TRUE, by=provider)
    play.act(provider, "sealCheck", play.job, play.round.number, task, turn, opening.hash)
    return provider


def to_late_coordinator(play: Play) -> list[str]:
    """An honest round whose gatherers posted, and whose coordinator says nothing."""
    play.open_round()
    play.seal_work()
    play.check()
    play.reveal()
    play.gather()
    gatherers = [
        play.holder(Stage.UPDATE_CHECK, play.terms.tasks, seat)
        for seat in range(play.terms.gatherers)
    ]
    play.to(Phase.SUCCESSION)
    return gatherers


# --- 22 verifiers that never answer ---


def test_22_silentVerifiers_areFollowedByTheNextCandidates(play: Play) -> None:
    play.open_round()
    play.seal_work()
    first, second = bits(play.round.drawn)
    with pytest.raises(ContractRejected, match="NotYourTurn"):
        answer_in_turn(play, first, 1)
    play.mine(play.round.deadline - int(play.chain.head()) - 4)
    paid = [answer_in_turn(play, first, 1), answer_in_turn(play, second, 0)]
    play.to(Phase.REVEAL)
    play.reveal()
    play.finish_without_update()
    assert all(play.credit(provider) >= play.terms.fee for provider in paid)


def test_22_unansweredTasks_areDrawnOnceMore(play: Play) -> None:
    play.open_round()
    play.seal_work()
    task, silent = bits(play.round.drawn)
    answer_in_turn(play, task, 0)
    before = [candidate(play, Stage.CHECK, silent, 0, turn) for turn in range(4)]
    play.to(Phase.RECHECK)
    assert before != [candidate(play, Stage.CHECK, silent, 0, turn) for turn in range(4)]
    answer_in_turn(play, silent, 0)
    play.to(Phase.REVEAL)
    play.reveal()
    assert play.round.opened_tasks == 0b1111
    assert not play.round.is_void


def test_22_nobodyAnswersTwice_nothingIsAcceptedUnchecked(play: Play) -> None:
    play.open_round()
    play.seal_work()
    play.finish_without_update()
    assert [play.credit(worker) for worker in WORKERS] == [0] * 4
    assert [play.wealth(worker) for worker in WORKERS] == [BOND] * 4


def test_22_passIsFree_andNobodyElsesToGive(play: Play) -> None:
    play.open_round()
    play.seal_work()
    task = bits(play.round.drawn)[0]
    place = (play.job, 0, Stage.CHECK, task, 0, 0)
    with pytest.raises(ContractRejected, match="NotYourSeat"):
        play.send(ANYBODY, play.market, "pass", *place)
    provider = candidate(play, Stage.CHECK, task, 0, 0)
    before = play.wealth(provider)
    play.act(provider, "pass", *place)
    assert play.wealth(provider) == before
    with pytest.raises(ContractRejected, match="NotYourTurn"):
        answer_in_turn(play, task, 0)
    answer_in_turn(play, task, 1)


# --- 27 squat tasks ---


def test_27_claimsBeginInTheSecondHalf_oneAtATime(play: Play) -> None:
    play.open_round()
    squatter = play.holder(Stage.WORK, 0)
    slot = play.slot_of(squatter)
    with pytest.raises(ContractRejected, match="ClaimTooEarly"):
        play.act(squatter, "claim", play.job, 0, 1, slot)
    play.mine(play.round.deadline - play.terms.windows.commit // 2 - int(play.chain.head()))
    play.act(squatter, "claim", play.job, 0, 1, slot)
    with pytest.raises(ContractRejected, match="SlotClaims"):
        play.act(squatter, "claim", play.job, 0, 2, slot)


def test_27_squatterLosesHalfThePay_andItsPlace(play: Play) -> None:
    play.open_round()
    victim, squatter = play.holder(Stage.WORK, 1), play.holder(Stage.WORK, 0)
    play.mine(play.round.deadline - play.terms.windows.commit // 2 - int(play.chain.head()))
    play.act(squatter, "claim", play.job, 0, 1, play.slot_of(squatter))
    with pytest.raises(ContractRejected, match="NotYourTask"):
        play.seal(Stage.WORK, 1, by=victim)
    play.finish_without_update()
    assert play.wealth(squatter) == BOND - play.terms.reward // 2
    assert play.wealth(victim) == BOND, "whoever was robbed of a task loses nothing"
    assert play.chain.call(play.market, "workerRoster", play.job)[1].count(squatter) == 0


# --- 11 a coordinator that stalls ---


def test_11_gathererFollowsALateCoordinator_andIsPaid(play: Play) -> None:
    gatherers = to_late_coordinator(play)
    question, seats = play.terms.tasks, range(1, play.terms.gatherers + 2)
    before = play.wealth(gatherers[0])
    opening = play.prepare(Stage.UPDATE, question, TRUE, by=gatherers[0], seat=1)
    with pytest.raises(ContractRejected, match="NotInPhase"):
        play.seal(Stage.UPDATE, question, by=COORDINATOR)
    play.openings[Stage.UPDATE, question, 1] = opening
    play.act(gatherers[0], "sealSuccession", play.job, 0, 0, opening.hash)
    play.to(Phase.UPDATE_CHECK)
    for seat in seats:
        play.seal(Stage.UPDATE_CHECK, question, TRUE, seat=seat)
    play.to(Phase.UPDATE_OPEN)
    play.open(Stage.UPDATE, question, seat=1)
    for seat in seats:
        play.open(Stage.UPDATE_CHECK, question, seat=seat)
    play.finish_without_update()
    assert play.wealth(gatherers[0]) - before == play.terms.update_fee
    job = play.chain.call(play.market, "jobOf", play.job)
    updates = job["updates"] if isinstance(job, dict) else job[3]
    assert updates == 1
    assert play.wealth(COORDINATOR) == BOND, "who is late before sealing loses nothing"


def test_11_laterGatherersWaitForTheirTurn(play: Play) -> None:
    gatherers = to_late_coordinator(play)
    with pytest.raises(ContractRejected, match="SuccessionTooEarly"):
        play.act(gatherers[2], "sealSuccession", play.job, 0, 2, bytes([1] * 32))
    play.mine(play.round.deadline - int(play.chain.head()) - 3)
    play.act(gatherers[2], "sealSuccession", play.job, 0, 2, bytes([1] * 32))
    assert play.round.phase == Phase.UPDATE_DRAW
