"""Rows 6, 7 and 8: arranging who checks whom, before or after chance has spoken."""

import pytest
from eth_hash.auto import keccak

from protocol.chain.errors import ContractRejected
from protocol.rules.draws import drawn_tasks
from protocol.rules.records import Phase, Stage, bits
from protocol.rules.sealing import words
from tests.support.market_play import ANYBODY, BOND, TRUE, VERIFIERS, WORKERS, Play


def bystander(play: Play, task: int) -> str:
    """A verifier of the round that is no side of a task."""
    sides = {play.holder(Stage.WORK, task), play.holder(Stage.CHECK, task)}
    return next(v for v in VERIFIERS if v not in sides)


# --- 6 worker and verifier collude ---


def test_06_verifiersAreDrawn_afterTheLastSeal(play: Play) -> None:
    """While a worker can still choose what it seals, nobody can know who will check it."""
    play.open_round()
    for task in range(play.terms.tasks):
        assert play.round.draw == bytes(32)
        with pytest.raises(ContractRejected, match="NotDrawn"):
            play.holder(Stage.CHECK, task)
        play.seal(Stage.WORK, task)
    assert play.round.phase == Phase.DRAW
    assert play.round.beacon_block > play.chain.head(), "a block that does not exist yet"


def test_06_colludingPair_losesBothBonds_toAnybodyWhoLooks(play: Play) -> None:
    play.open_round()
    play.seal_work(lies=range(4))
    play.check(lies=range(4))
    play.reveal()
    task = bits(play.round.drawn)[0]
    worker, checker = play.holder(Stage.WORK, task), play.holder(Stage.CHECK, task)
    before = {who: play.wealth(who) for who in (worker, checker)}
    play.seal(Stage.CHALLENGE, task, TRUE, by=bystander(play, task))
    play.to(Phase.VERDICT_SEAL)
    members = [play.holder(Stage.PANEL, task, seat) for seat in range(3)]
    assert not {worker, checker} & set(members), "accuser and accused do not vote"
    for seat in range(3):
        play.seal(Stage.PANEL, task, seat=seat)
    play.to(Phase.VERDICT_OPEN)
    play.open(Stage.CHALLENGE, task)
    for seat in range(3):
        play.open(Stage.PANEL, task, seat=seat)
    play.finish_without_update()
    terms = play.terms
    assert play.wealth(worker) <= before[worker] - terms.bond
    assert play.wealth(checker) <= before[checker] - terms.bond + (terms.checks - 1) * terms.fee


def test_06_bribedSilence_handsTheCheckToOthers_andGetsTheTaskNothing(play: Play) -> None:
    play.open_round()
    play.seal_work(lies=(0, 1, 2, 3))
    play.finish_without_update()  # everybody drawn was bribed to say nothing, twice
    assert [play.credit(worker) for worker in WORKERS] == [0] * 4


# --- 7 roster timing ---


def test_07_workersDoNotMove_betweenAssignmentAndDraw(play: Play) -> None:
    play.open_round()
    owner = WORKERS[0]
    slot = play.slot_of(owner)
    for phase in (Phase.COMMIT, Phase.DRAW):
        if phase == Phase.DRAW:
            for task in range(4):
                play.seal(Stage.WORK, task)
        assert play.round.phase == phase
        with pytest.raises(ContractRejected, match="RosterFrozen"):
            play.act(owner, "leave", play.job, slot)
        with pytest.raises(ContractRejected, match="RosterFrozen"):
            play.act(owner, "join", play.job, owner, 1)
        with pytest.raises(ContractRejected, match="RosterFrozen"):
            play.send(ANYBODY, play.market, "drop", play.job, slot, 0)


def test_07_newVerifiers_countForNoRoundThatIsOpen(play: Play) -> None:
    play.open_round()
    before = play.round.verifiers
    for _ in range(3):
        play.act(VERIFIERS[0], "enrol", VERIFIERS[0], 1)
    play.mine(play.chain.call(play.market, "config")[0])  # an epoch goes by
    assert play.round.verifiers == before
    play.seal_work()
    assert play.round.verifiers == before
    roster = play.chain.call(play.market, "verifierRoster", play.round.epoch)[1]
    assert len(roster) == before


def test_07_presenceEarnsNothing(play: Play) -> None:
    play.open_round()
    play.seal_work()
    idle = set(VERIFIERS) - {play.holder(Stage.CHECK, t) for t in bits(play.round.drawn)}
    play.check()
    play.reveal()
    play.finish_without_update()
    assert {play.wealth(verifier) for verifier in idle} == {BOND}


# --- 8 grind or re-use the randomness ---


def test_08_beacon_isOfItsJobItsRoundAndItsUse(play: Play) -> None:
    play.open_round()
    seed_block = play.round.beacon_block
    assert seed_block == 0, "no beacon is awaited in Commit"
    play.seal_work()
    events = [play.chain.decode(raw) for raw in play.chain.logs(0, play.chain.head())]
    drawn = [e for e in events if e.name == "BeaconDrawn" and e.args["job"] == play.job]
    armed = {
        e.args["phase"]: e.args["beaconBlock"]
        for e in events
        if e.name == "PhaseChanged" and e.args["job"] == play.job and e.args["beaconBlock"]
    }
    assert [e.args["phase"] for e in drawn] == [Phase.SEED, Phase.DRAW]
    for event in drawn:
        block = play.chain.web3.eth.get_block(armed[event.args["phase"]])
        source = bytes(block["hash"])
        expected = keccak(words(source, play.job, 0, event.args["phase"]))
        assert bytes(event.args["value"]) == expected
    assert play.round.drawn == drawn_tasks(play.round.draw, 0b1111, 4, play.terms.checks)
