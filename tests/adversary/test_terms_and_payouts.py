"""Rows 18, 23, 24 and 26: sums that do not add up, bad luck, wicked terms, and poisoned results."""

import dataclasses
from typing import Any

import pytest

from protocol.chain.errors import ContractRejected
from protocol.rules.economics import required_escrow
from protocol.rules.records import Phase, Stage, bits
from tests.support.market_play import (
    ANYBODY,
    BOND,
    COORDINATOR,
    DIVERGED,
    REQUESTER,
    TRUE,
    VERIFIERS,
    WORKERS,
    Play,
)
from tests.support.rounds import make_terms

# --- 18 overflow and rounding in payouts ---


@pytest.mark.parametrize("reward", [3, 5, 10**18 + 1])
def test_18_oddAmounts_areSpentToTheLastUnit(play: Play, reward: int) -> None:
    """Half pay and half burnt of an odd reward; what is left is refunded; nothing is created."""
    play.open_round(rounds=1, reward=reward, fee=reward, update_fee=reward)
    play.seal_work()
    play.check()
    play.reveal()
    play.gather(held=0b1110)
    play.finish_without_update()
    paid = [play.credit(worker) for worker in WORKERS]
    assert sorted(paid) == sorted([reward // 2, reward, reward, reward])
    burnt = play.chain.call(play.vault, "totals")[4]
    assert burnt == reward - reward // 2
    spent = sum(play.credit(who) for who in (*WORKERS, *VERIFIERS))
    assert spent + burnt + play.credit(REQUESTER) == required_escrow(play.terms)
    assert play.chain.call(play.vault, "escrowOf", play.job) == 0


def test_18_amountsBeyondTheirBounds_areRefused(play: Play) -> None:
    biggest = 2**96 - 1
    with pytest.raises(ContractRejected, match="BadTerm"):
        play.post(reward=biggest, fee=biggest, bond=biggest, coordinator_bond=biggest)
    assert play.chain.call(play.market, "jobs") == 0


# --- 23 many honest workers fail at once ---


def test_23_outageBeforeSealing_costsNothing(play: Play) -> None:
    play.open_round()
    play.finish_without_update()
    assert [play.wealth(worker) for worker in WORKERS] == [BOND] * 4


def test_23_outageAfterSealing_costsTheUndrawnHalfTheirPay(play: Play) -> None:
    play.open_round()
    play.seal_work()
    drawn = play.round.drawn
    play.check()
    for task in bits(drawn):
        play.open(Stage.CHECK, task)
        play.open(Stage.WORK, task)  # a second sender saved these
    play.finish_without_update()
    for task in range(4):
        owner = next(w for w in WORKERS if w == sealer(play, task))
        lost = BOND - play.wealth(owner)
        assert lost == (-play.terms.reward if drawn >> task & 1 else play.terms.reward // 2)


def sealer(play: Play, task: int) -> str:
    """Who sealed a task of round 0."""
    raw = play.chain.call(play.market, "sealOf", play.job, 0, Stage.WORK, task, 0)
    values = list(raw.values()) if isinstance(raw, dict) else list(raw)
    return str(next(v for v in values if isinstance(v, str) and v.startswith("0x")))


# --- 24 a malicious job ---

WICKED: dict[str, dict[str, Any]] = {
    "checks for less than the work": {"fee": 100},
    "a bond that does not outweigh silence": {"bond": 1},
    "a bond that swallows everybody": {"bond": 10**25},
    "more checks than tasks": {"checks": 5},
    "an even panel": {"panel": 4},
    "a panel of hundreds": {"panel": 201},
    "nobody to gather": {"gatherers": 1},
    "fewer verifiers than seats": {"min_verifiers": 3},
    "more tasks than a bitmap holds": {"tasks": 257, "checks": 2},
    "rounds without end": {"rounds": 2**32 - 1},
    "a coordinator that risks nothing": {"coordinator_bond": 0},
    "no way to fail": {"max_failed_rounds": 0},
}


@pytest.mark.parametrize("name", WICKED)
def test_24_wickedTerms_areRefused(play: Play, name: str) -> None:
    with pytest.raises(ContractRejected, match="BadTerm"):
        play.post(**WICKED[name])


@pytest.mark.parametrize("window", [f.name for f in dataclasses.fields(make_terms().windows)])
@pytest.mark.parametrize("blocks", [1, 10**6])
def test_24_windowsOfABlock_orForEver_areRefused(play: Play, window: str, blocks: int) -> None:
    with pytest.raises(ContractRejected, match="BadTerm"):
        play.post(windows=dataclasses.replace(make_terms().windows, **{window: blocks}))


def test_24_jobWithoutItsCoordinator_neverBegins_andConscriptsNobody(play: Play) -> None:
    play.post()
    for owner in WORKERS:
        play.act(owner, "join", play.job, owner, 1)
    play.mine(play.terms.windows.waiting * (play.terms.max_failed_rounds + 1))
    for _ in range(play.terms.max_failed_rounds + 1):
        play.send(ANYBODY, play.market, "advance", play.job)
        play.mine(play.terms.windows.waiting)
    assert play.round.phase == Phase.ENDED
    assert play.credit(REQUESTER) == required_escrow(play.terms)


# --- 26 poison by one garbage result ---


def test_26_nonFiniteResult_isPaid_andNeverIncluded(play: Play) -> None:
    play.open_round()
    for task in range(4):
        play.seal(Stage.WORK, task, DIVERGED if task == 2 else TRUE)
    play.to(Phase.CHECK)
    for task in bits(play.round.drawn):
        play.seal(Stage.CHECK, task, DIVERGED if task == 2 else TRUE)
    play.to(Phase.REVEAL)
    play.reveal()
    play.gather()
    play.to(Phase.UPDATE)
    assert play.round.included == 0b1011, "no update may contain it"
    play.finish_without_update()
    assert [play.credit(worker) for worker in WORKERS] == [play.terms.reward] * 4


def test_26_updateThatLeftTheFiniteNumbers_changesNoState(play: Play) -> None:
    play.open_round()
    play.seal_work()
    play.check()
    play.reveal()
    play.gather()
    before = play.chain.call(play.market, "jobOf", play.job)
    play.update(DIVERGED)
    play.finish_without_update()
    after = play.chain.call(play.market, "jobOf", play.job)
    assert (after[7], after[8]) == (before[7], before[8]), "root and CID of the state"
    assert after[3] == 0, "no update"
    assert play.wealth(COORDINATOR) == BOND + play.terms.update_fee, "the duty was done"
