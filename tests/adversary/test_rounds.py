"""Rows 9, 10, 12, 13, 14, 15, 22 and 29: who keeps silent, leaves, stops, accuses or hides."""

import pytest

from protocol.chain.errors import ContractRejected
from protocol.rules.economics import required_escrow
from protocol.rules.records import Ending, Phase, Stage, bits
from tests.support.market_play import (
    ANYBODY,
    BOND,
    LIE,
    REQUESTER,
    TRUE,
    VERIFIERS,
    WORKERS,
    Play,
    operator_of,
)


def to_gather(play: Play, lies: tuple[int, ...] = ()) -> None:
    """Everybody seals, checks and opens; the workers of `lies` lied, their checkers too."""
    play.open_round()
    play.seal_work(lies=lies)
    play.check(lies=lies)
    play.reveal()


def bystander(play: Play, task: int) -> str:
    """An enrolled verifier that has sealed nothing about a task."""
    checker = play.openings.get((Stage.CHECK, task, 0))
    held = play.holder(Stage.CHECK, task) if checker is not None else ""
    return next(v for v in VERIFIERS if v != held)


# --- 9 hide ---


def test_09_drawnWorkerThatDoesNotOpen_losesItsBond(play: Play) -> None:
    play.open_round()
    play.seal_work()
    task = bits(play.round.drawn)[0]
    hider, checker = play.holder(Stage.WORK, task), play.holder(Stage.CHECK, task)
    play.check()
    for key in [k for k in play.openings if k != (Stage.WORK, task, 0)]:
        play.open(key[0], key[1])
    play.finish_without_update()
    assert play.wealth(hider) == BOND - play.terms.bond
    assert play.wealth(checker) >= BOND + play.terms.fee, "the checker is paid all the same"


def test_09_whoeverHoldsTheOpening_mayOpenForTheWorker(play: Play) -> None:
    """A worker that is down is saved by its second sender; here a stranger with the file."""
    to_gather(play)
    assert play.round.opened_tasks == 0b1111
    assert play.wealth(play.holder(Stage.WORK, 0)) == BOND


# --- 10 withhold the data behind a CID ---


def test_10_resultThatNobodyHolds_isLeftOutAtHalfPay(play: Play) -> None:
    to_gather(play)
    play.gather(held=0b1110)
    owner = play.holder(Stage.WORK, 0)
    before = play.credit(owner)
    play.update()
    play.to(Phase.COMMIT)
    assert play.round.number == 1
    assert play.credit(owner) - before == play.terms.reward // 2
    for task in (1, 2, 3):
        assert play.credit(play.holder(Stage.WORK, task)) >= 0
    paid = [play.credit(w) for w in WORKERS]
    assert sorted(paid) == [play.terms.reward // 2, *([play.terms.reward] * 3)]


# --- 12 griefing challenges, 29 the accused's own outcome ---


def test_12_secondChallengeOfATask_isRefused(play: Play) -> None:
    to_gather(play)
    first, second = VERIFIERS[0], VERIFIERS[1]
    play.seal(Stage.CHALLENGE, 0, LIE, by=first)
    with pytest.raises(ContractRejected, match="AlreadyDisputed"):
        play.seal(Stage.CHALLENGE, 0, LIE, by=second)


@pytest.mark.parametrize("variant", [LIE, TRUE])
def test_12_29_wrongChallenge_paysForItsPanel(play: Play, variant: int) -> None:
    """TRUE is the accused's own outcome: a challenge that claims nothing."""
    to_gather(play)
    challenger, owner = bystander(play, 0), play.holder(Stage.WORK, 0)
    play.seal(Stage.CHALLENGE, 0, variant, by=challenger)
    play.gather()
    play.to(Phase.VERDICT_SEAL)
    members = [play.holder(Stage.PANEL, 0, seat) for seat in range(3)]
    assert challenger not in members
    assert owner not in members
    for seat in range(3):
        play.seal(Stage.PANEL, 0, seat=seat)
    play.to(Phase.VERDICT_OPEN)
    play.open(Stage.CHALLENGE, 0)
    for seat in range(3):
        play.open(Stage.PANEL, 0, seat=seat)
    before = play.wealth(challenger)
    play.finish_without_update()
    posted = play.terms.update_fee
    assert play.wealth(challenger) <= before - play.terms.bond + posted + play.terms.fee
    assert play.wealth(owner) == BOND + play.terms.reward, "the accused is paid as if nothing was"


# --- 13 false accusation for profit ---


def test_13_rightChallenge_bringsAtMostATenthOfABond(play: Play) -> None:
    """Checker and worker lie together; a bystander is right, and the rest is burnt."""
    to_gather(play, lies=(0, 1, 2, 3))
    task = bits(play.round.drawn)[0]
    liar, checker = play.holder(Stage.WORK, task), play.holder(Stage.CHECK, task)
    challenger = bystander(play, task)
    earlier = {who: play.wealth(who) for who in (challenger, liar, checker)}
    play.seal(Stage.CHALLENGE, task, TRUE, by=challenger)
    play.to(Phase.VERDICT_SEAL)
    for seat in range(3):
        play.seal(Stage.PANEL, task, seat=seat)
    play.to(Phase.VERDICT_OPEN)
    play.open(Stage.CHALLENGE, task)
    for seat in range(3):
        play.open(Stage.PANEL, task, seat=seat)
    play.finish_without_update()
    gained = play.wealth(challenger) - earlier[challenger]
    other_checks = play.terms.fee  # it may have been drawn for another task
    assert play.terms.bond // 10 <= gained <= play.terms.bond // 10 + other_checks
    assert play.wealth(liar) <= earlier[liar] - play.terms.bond
    assert play.wealth(checker) <= earlier[checker] - play.terms.bond + play.terms.fee
    terms, burnt = play.terms, play.chain.call(play.vault, "totals")[4]
    assert burnt >= 2 * terms.bond - terms.panel * terms.fee - terms.bond // 10
    paid = sum(play.credit(who) for who in (*WORKERS, *VERIFIERS))
    escrow_left = play.chain.call(play.vault, "escrowOf", play.job) + play.credit(REQUESTER)
    bonds_spent = 2 * terms.bond - burnt
    assert escrow_left == required_escrow(terms) - (paid - bonds_spent), "no bond reached it"


# --- 14 leave before the slash ---


def test_14_freeBondLeaves_lockedBondStays(play: Play) -> None:
    play.open_round()
    play.seal(Stage.WORK, 0)
    owner = play.holder(Stage.WORK, 0)
    slot = play.slot_of(owner)
    locked = BOND - play.free(owner)
    assert locked >= play.terms.bond
    with pytest.raises(ContractRejected, match="InsufficientFree"):
        play.send(owner, play.vault, "withdraw", play.free(owner) + 1, owner)
    play.send(owner, play.vault, "withdraw", play.free(owner), ANYBODY)
    assert play.free(owner) == 0
    with pytest.raises(ContractRejected, match="RosterFrozen"):
        play.act(owner, "leave", play.job, slot)
    play.seal_work(but=[0])
    play.check()
    play.act(owner, "leave", play.job, slot)  # now the roster may change, the seal's bond may not
    assert play.wealth(owner) == locked
    with pytest.raises(ContractRejected, match="InsufficientFree"):
        play.send(owner, play.vault, "withdraw", locked, owner)
    play.finish_without_update()  # it never opened
    drawn_loss, undrawn_loss = play.terms.bond, play.terms.reward // 2
    assert play.wealth(owner) in (locked - drawn_loss, locked - undrawn_loss)


def test_14_oneBond_neverBacksTwoSeals(play: Play) -> None:
    play.open_round(tasks=8, checks=4)
    owner = play.holder(Stage.WORK, 0)
    mine = [t for t in range(8) if play.holder(Stage.WORK, t) == owner]
    play.seal(Stage.WORK, mine[0])
    after_first = play.free(owner)
    play.send(owner, play.vault, "withdraw", after_first, ANYBODY)
    with pytest.raises(ContractRejected, match="InsufficientFree"):
        play.seal(Stage.WORK, mine[1])


# --- 15 the requester takes work for free ---


def test_15_requesterThatStopsMidRound_paysForOpenedWork(play: Play) -> None:
    play.open_round()
    play.seal_work()
    play.check()
    play.send(REQUESTER, play.market, "stop", play.job)
    play.reveal()
    play.gather()
    play.finish_without_update()
    job = play.chain.call(play.market, "jobOf", play.job)
    assert job[6] == Ending.STOPPED
    assert [play.credit(w) for w in WORKERS] == [play.terms.reward] * 4
    spent = sum(play.credit(v) for v in (*WORKERS, *VERIFIERS))
    assert play.credit(REQUESTER) == required_escrow(play.terms) - spent
    assert play.chain.call(play.vault, "escrowOf", play.job) == 0


def test_15_onlyTheRequester_stops(play: Play) -> None:
    play.open_round()
    with pytest.raises(ContractRejected, match="OnlyRequester"):
        play.send(ANYBODY, play.market, "stop", play.job)


# --- 22 all verifiers offline ---


def test_22_roundThatNobodyChecks_isVoidAndCostsNobody(play: Play) -> None:
    play.open_round()
    play.seal_work()
    before = {who: play.wealth(who) for who in (*WORKERS, *VERIFIERS)}
    state = play.chain.call(play.market, "jobOf", play.job)[7]
    play.finish_without_update()
    assert {who: play.wealth(who) for who in before} == before
    job = play.chain.call(play.market, "jobOf", play.job)
    assert job[7] == state, "never accepted unchecked"
    assert job[4] == 1, "it counts as a failed round"
    assert play.chain.call(play.vault, "escrowOf", play.job) == required_escrow(play.terms)


# --- 21 a stolen operator key, 28 one that burns its owner's bond ---


def test_21_operator_cannotTakeAnythingOut(play: Play) -> None:
    owner, thief = WORKERS[0], operator_of(WORKERS[0])
    with pytest.raises(ContractRejected, match="InsufficientFree"):
        play.send(thief, play.vault, "withdraw", 1, thief)
    with pytest.raises(ContractRejected, match="NothingToCollect"):
        play.send(thief, play.vault, "collect", thief)
    for function, args in {
        "unlock": (owner, thief, 1),
        "slash": (0, owner, thief, 1),
        "credit": (0, thief, 1),
        "burn": (0, 1),
        "lock": (owner, thief, 1),
        "fund": (0, owner, 1),
    }.items():
        with pytest.raises(ContractRejected, match="OnlyMarket"):
            play.send(thief, play.vault, function, *args)
    assert play.wealth(owner) == BOND


def test_21_rotatedKey_isWorthNothing(play: Play) -> None:
    owner = WORKERS[0]
    play.post()
    play.send(owner, play.vault, "authorise", operator_of(owner), 0)
    with pytest.raises(ContractRejected, match=r"OperatorLimit|NotOperatorOf"):
        play.act(owner, "join", play.job, owner, 1)


def test_28_operator_locksAtMostItsLimit(play: Play) -> None:
    owner = WORKERS[0]
    play.post()
    play.send(owner, play.vault, "authorise", operator_of(owner), 2 * play.terms.bond)
    with pytest.raises(ContractRejected, match="OperatorLimit"):
        play.act(owner, "join", play.job, owner, 3)
    play.act(owner, "join", play.job, owner, 2)
    with pytest.raises(ContractRejected, match="OperatorLimit"):
        play.act(owner, "enrol", owner, 1)
    assert play.free(owner) == BOND - 2 * play.terms.bond


def test_28_strangersKey_locksNothing(play: Play) -> None:
    play.post()
    with pytest.raises(ContractRejected, match=r"NotOperatorOf|OperatorLimit"):
        play.act(WORKERS[1], "join", play.job, WORKERS[0], 1)
