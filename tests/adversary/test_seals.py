"""Rows 1, 2 and 5: a seal, an opening or a vote in the wrong hands or the wrong place."""

import dataclasses

import pytest

from protocol.chain.errors import ContractRejected
from protocol.rules.records import Phase, Stage, bits
from protocol.rules.sealing import SealContext, witness_hash
from tests.support.market_play import TRUE, WORKERS, Play, raw_seal
from tests.support.rounds import digest


def slashed(play: Play, owner: str) -> int:
    """What an owner has lost of its bonds in this job; what chance let it earn does not count."""
    events = [play.chain.decode(raw) for raw in play.chain.logs(0, play.chain.head())]
    return sum(
        event.args["amount"]
        for event in events
        if event.name == "Slashed"
        and event.args["job"] == play.job
        and event.args["provider"] == owner
    )


# --- 1 copy another worker's result ---


def test_01_copiedSeal_cannotBeOpenedByTheThief(play: Play) -> None:
    play.open_round()
    victim, thief = play.holder(Stage.WORK, 0), play.holder(Stage.WORK, 1)
    play.seal(Stage.WORK, 0)
    stolen = play.openings[Stage.WORK, 0, 0]
    play.send_seal(Stage.WORK, 1, stolen.hash, by=thief)
    for task in (2, 3):
        play.seal(Stage.WORK, task)
    play.to(Phase.CHECK)
    drawn = bits(play.round.drawn)
    play.check()
    play.open(Stage.WORK, 0)  # now everything about it is public
    with pytest.raises(ContractRejected, match="WrongOpening"):
        play.open_as(stolen, question=1)
    for stage, task, _ in [key for key in play.openings if key[0] == Stage.CHECK or key[1] > 1]:
        play.open(stage, task)
    play.finish_without_update()
    assert play.credit(victim) > 0
    assert play.credit(thief) == 0
    # Checked, silence costs the bond; unchecked, the pay and the liveness penalty, half of it.
    lost = play.terms.bond if 1 in drawn else play.terms.reward // 2
    assert slashed(play, thief) == lost


def test_01_copiedSeal_ofTheSameTask_isTooLate(play: Play) -> None:
    """A task is sealed once, and by its own slot: late in the window, too."""
    play.open_round()
    play.seal(Stage.WORK, 0)
    stolen = play.openings[Stage.WORK, 0, 0].hash
    play.mine(play.terms.windows.commit // 2)
    thief = next(w for w in WORKERS if w != play.holder(Stage.WORK, 0))
    with pytest.raises(ContractRejected, match=r"AlreadySealed|NotYourTask"):
        play.send_seal(Stage.WORK, 0, stolen, by=thief)


# --- 2 replay a seal, an opening ---


def test_02_sealOfAnotherJob_cannotBeOpened(play: Play) -> None:
    play.open_round()
    opening = play.prepare(Stage.WORK, 0)
    owner = play.holder(Stage.WORK, 0)
    play.open_round()  # another job of the same people
    task = next(t for t in range(4) if play.holder(Stage.WORK, t) == owner)
    play.send_seal(Stage.WORK, task, opening.hash, by=owner)
    play.seal_work(but=[task])
    play.check()
    with pytest.raises(ContractRejected, match="WrongOpening"):
        play.open_as(opening, job=play.job, question=task)


def test_02_sealOfAnEarlierRound_cannotBeOpened(play: Play) -> None:
    play.open_round()
    play.seal_work()
    play.check()
    play.reveal()
    old = play.openings[Stage.WORK, 0, 0]
    owner = play.holder(Stage.WORK, 0)
    play.finish_without_update()
    play.openings.clear()
    play.to(Phase.COMMIT)
    assert play.round.number == 1
    with pytest.raises(ContractRejected, match="NotInRound"):
        play.act(owner, "sealTasks", play.job, 0, play.slot_of(owner), [(0, old.hash)])
    task = next(t for t in range(4) if play.holder(Stage.WORK, t) == owner)
    play.send_seal(Stage.WORK, task, old.hash, by=owner)
    play.seal_work(but=[task])
    play.check()
    with pytest.raises(ContractRejected, match="WrongOpening"):
        play.open_as(old, round=1, question=task)


def test_02_sealOfAnotherStage_cannotBeOpened(play: Play) -> None:
    """A checker that copies the worker's seal has sealed nothing that it could ever open."""
    play.open_round()
    play.seal_work()
    task, *others = bits(play.round.drawn)
    work = play.openings[Stage.WORK, task, 0]
    checker = play.holder(Stage.CHECK, task)
    play.send_seal(Stage.CHECK, task, work.hash, by=checker)
    for other in others:
        play.seal(Stage.CHECK, other)
    play.to(Phase.REVEAL)
    play.open(Stage.WORK, task)
    with pytest.raises(ContractRejected, match="WrongOpening"):
        play.open_as(work, stage=Stage.CHECK)


def test_02_sameOpeningTwice_isRefused(play: Play) -> None:
    play.open_round()
    play.seal_work()
    play.check()
    play.open(Stage.WORK, 0)
    with pytest.raises(ContractRejected, match="AlreadyOpened"):
        play.open(Stage.WORK, 0)


def test_02_everyPartOfASeal_isBound(play: Play) -> None:
    play.open_round()
    play.seal_work()
    play.check()
    opening = play.openings[Stage.WORK, 0, 0]
    for part in ("root", "cid", "witness", "salt"):
        with pytest.raises(ContractRejected, match="WrongOpening"):
            play.open_as(opening, **{part: digest("another", part)})


# --- 5 a vote copied from what is public ---


def dispute(play: Play) -> tuple[int, str]:
    """A task and the checker that lied about it; the worker is right. Ends in VerdictSeal."""
    play.open_round()
    play.seal_work()
    task = bits(play.round.drawn)[0]
    checker = play.holder(Stage.CHECK, task)
    play.check(lies=[task])
    play.reveal()
    play.gather()
    play.to(Phase.VERDICT_SEAL)
    return task, checker


def test_05_voteCopiedFromARevealedOutcome_costsTheBond(play: Play) -> None:
    """The right outcome is public by now; what the copier lacks is the witness behind h."""
    task, _ = dispute(play)
    copier = play.holder(Stage.PANEL, task, 0)
    public = play.outcome(task, TRUE)
    vote = play.prepare(Stage.PANEL, task, TRUE, seat=0)
    guess = dataclasses.replace(vote, witness=public.h)
    context = SealContext(
        play.chain.deployment.chain_id,
        play.market.address,  # type: ignore[arg-type]  # checksummed
        play.job,
        play.round.number,
        task,
        Stage.PANEL,
        copier,
    )
    sealed = raw_seal(context, public, vote.salt)
    play.send_seal(Stage.PANEL, task, sealed, by=copier, seat=0)
    for seat in (1, 2):
        play.seal(Stage.PANEL, task, TRUE, seat=seat)
    play.to(Phase.VERDICT_OPEN)
    for seat in (1, 2):
        play.open(Stage.PANEL, task, seat=seat)
    with pytest.raises(ContractRejected, match="WrongOpening"):
        play.open_as(vote)
    play.open_as(guess)  # a vote for an outcome of its own, h of h
    assert witness_hash(play.job, 0, task, public.h) != public.h
    play.finish_without_update()
    assert slashed(play, copier) == play.terms.bond


def test_05_voteThatIsNeverOpened_costsTheBond(play: Play) -> None:
    task, checker = dispute(play)
    silent = play.holder(Stage.PANEL, task, 0)
    for seat in range(3):
        play.seal(Stage.PANEL, task, seat=seat)
    play.to(Phase.VERDICT_OPEN)
    for seat in (1, 2):
        play.open(Stage.PANEL, task, seat=seat)
    play.finish_without_update()
    assert slashed(play, silent) == play.terms.bond
    assert slashed(play, checker) == play.terms.bond, "two votes are a verdict all the same"
