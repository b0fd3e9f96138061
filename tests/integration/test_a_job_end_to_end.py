"""Real chain, real store, seven real processes: what must be true when a job is over."""

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.report import all_lines, money_of
from protocol.chain.client import Call
from protocol.chain.indexer import Indexer
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.role.keeping import final_states
from protocol.rules.amounts import UNITS
from protocol.rules.history import JobHistory, MarketHistory
from protocol.rules.records import Ending, Reason, TaskResult
from protocol.rules.records import Stage as SealStage
from protocol.storage.cid import Cid
from protocol.training.replay import replay
from tests.support.played_gas import gas_of_round
from verifier import audit, audit_report

TASKS, ROUNDS, CHEAT, KILLED = 3, 2, "worker-3", "worker-1"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_job_completesWithAnUpdateEachRound(story: Any) -> None:
    assert story.past.ending == Ending.COMPLETED
    assert len(story.past.rounds) == ROUNDS
    assert story.past.updates == ROUNDS


def test_oneFlippedBit_costsExactlyItsBond(story: Any) -> None:
    slashes = [line for line in all_lines(story.past) if line.kind == "slash"]
    assert len(slashes) == 1, "and nobody else lost anything"
    (slash,) = slashes
    assert slash.account == story.actors[CHEAT].address
    assert slash.amount == story.past.terms.bond
    assert slash.reason == Reason.WRONG
    rejected = [
        (round_.number, task)
        for round_ in story.past.rounds
        for task, result in round_.results.items()
        if result == TaskResult.REJECTED
    ]
    assert rejected == [(0, slash.question)]
    assert slash.question in story.past.rounds[0].verdicts


def test_honestWork_isPaid(story: Any) -> None:
    money = money_of(story.past)
    for name in ("worker-1", "worker-2", "coordinator", *(f"verifier-{i}" for i in (1, 2, 3))):
        assert money.paid.get(story.actors[name].address, 0) > 0, name
    assert story.actors[CHEAT].address not in money.paid


def test_metrics_sayWhatTheChainSays(story: Any) -> None:
    """Earnings, stages and jobs of every role, as Prometheus reads them."""
    paid = money_of(story.past).paid
    for name, text in story.metrics.items():
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        earned = sum(v for key, v in samples.items() if key[0] == "gradproof_earned_tokens")
        assert earned == pytest.approx(paid.get(story.actors[name].address, 0) / UNITS), name
        assert samples["gradproof_running_jobs",] == 0
        assert samples["gradproof_transactions", "reverted"] == 0
        assert samples["gradproof_acts_total", "answer", "done"] >= 1
        assert samples["gradproof_store_fetched_bytes_total",] > 0
    cheat = story.metrics[CHEAT]
    assert 'gradproof_lost_tokens{reason="wrong"}' in cheat
    assert 'gradproof_compute_seconds_count{stage="work"} 1.0' in cheat


def test_killedWorker_finishedWhatItHadSealed(story: Any) -> None:
    first = story.past.rounds[0]
    address = story.actors[KILLED].address
    (task,) = (s.question for s in first.seals.values() if s.provider == address)
    work = first.seal(SealStage.WORK, task)
    assert work is not None
    assert work.outcome is not None, "opened by the process that came after"
    assert first.results[task] == TaskResult.INCLUDED


def test_finalState_isThatOfOneProcessAlone(story: Any) -> None:
    past: JobHistory = story.past
    manifest = story.files.manifest(past)
    genesis = story.files.state(past, past.terms.genesis_root, past.terms.genesis_cid)
    included = [
        [task for task, result in sorted(r.results.items()) if result == TaskResult.INCLUDED]
        for r in past.rounds
    ]
    assert [len(tasks) for tasks in included] == [TASKS - 1, TASKS]
    alone = replay(manifest, genesis, story.files.dataset(past), included)
    assert alone == past.state_root


def test_resultsGo_dataAndStatesStay_untilTheJobIsForgotten(story: Any) -> None:
    """Each home forgets what it held: the requester its data, the coordinator the states."""
    store, past = story.files.store, story.past

    def pinned(cid: Cid) -> bool:
        return any(holding.pinned for holding in store.find(cid))

    manifest = story.files.manifest(past)
    data = [Cid.raw(past.terms.manifest), *(shard.cid for shard in manifest.data.shards)]
    states = final_states(past)
    assert len(states) == ROUNDS
    for state in list(states):
        states += [shard.cid for shard in story.files.state_files(past, state.digest)[1]]
    results = [
        Cid.raw(seal.outcome.cid)
        for round_ in past.rounds
        for seal in round_.seals.values()
        if seal.stage == SealStage.WORK and seal.outcome is not None
    ]
    assert len(results) == ROUNDS * TASKS
    assert not any(pinned(cid) for cid in results)
    assert all(pinned(cid) for cid in (*data, *states))

    assert story.too_early.returncode == 2
    assert "still runs" in story.too_early.stderr

    def forget(home: Path) -> None:
        done = story.forget(home)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["files unpinned"] > 0

    forget(story.settings.home)
    assert not any(pinned(cid) for cid in data)
    assert all(pinned(cid) for cid in states)
    forget(story.actors["coordinator"].home)
    assert not any(pinned(cid) for cid in states)


def test_sealsOfASlot_andOpeningsOfAKey_travelTogether(story: Any) -> None:
    """In the second round two workers are left for three tasks: one of them has two."""
    spent = gas_of_round(story.chain, story.job, story.past.rounds[1])
    seals = {name: len(gas) for name, gas in spent.items() if name.startswith("sealTasks")}
    assert seals == {"sealTasks x1": 1, "sealTasks x2": 1}
    assert "open x2" in spent


# --- audit ---


def test_audit_ofAStranger_isConsistent(
    story: Any, audit_process: subprocess.CompletedProcess[str]
) -> None:
    assert audit_process.returncode == 0, audit_process.stderr
    said = json.loads(audit_process.stdout)
    assert said["verdict"] == "CONSISTENT"
    assert said["final state root"] == story.past.state_root.hex()
    assert said["tasks recomputed"] == TASKS * ROUNDS
    assert said["cheats confirmed"] == 1


def _alter_payment(past: JobHistory) -> None:
    lines = past.rounds[0].lines
    spot = next(i for i, line in enumerate(lines) if line.reason == Reason.TASK_PAID)
    lines[spot] = dataclasses.replace(lines[spot], amount=lines[spot].amount + 1)


def _drop_slash(past: JobHistory) -> None:
    lines = past.rounds[0].lines
    lines[:] = [line for line in lines if line.kind != "slash"]


def _alter_beacon(past: JobHistory) -> None:
    beacons = past.rounds[1].beacons
    phase = max(beacons)
    beacons[phase] = bytes([beacons[phase][0] ^ 1]) + beacons[phase][1:]


def _alter_outcome(past: JobHistory) -> None:
    """A result that nobody questioned, with another root."""
    seal = past.rounds[1].seals[SealStage.WORK, 0, 0]
    check = past.rounds[1].seals[SealStage.CHECK, 0, 0]
    assert seal.outcome is not None
    seal.outcome = check.outcome = dataclasses.replace(seal.outcome, root=bytes(32))


def _alter_seat(past: JobHistory) -> None:
    past.rounds[0].seals[SealStage.CHECK, 1, 0].provider = past.requester


def _alter_result(past: JobHistory) -> None:
    past.rounds[1].results[0] = TaskResult.LEFT_OUT


def _alter_update(past: JobHistory) -> None:
    last = past.rounds[1]
    assert last.update is not None
    last.update = (bytes(32), last.update[1])


def _alter_state(past: JobHistory) -> None:
    past.state_root = bytes(32)


def _alter_escrow(past: JobHistory) -> None:
    past.escrow += 1


DOCTORED: dict[str, Callable[[JobHistory], None]] = {
    "TASK_PAID": _alter_payment,
    "round 0: slash of": _drop_slash,
    "round 1: beacon": _alter_beacon,
    "round 1: root of task 0": _alter_outcome,
    "round 0: provider of CHECK 1.0": _alter_seat,
    "round 1: result of task 0": _alter_result,
    "round 1: accepted update": _alter_update,
    "final state root": _alter_state,
    "money left": _alter_escrow,
}


@pytest.mark.parametrize("where", DOCTORED)
def test_audit_ofAnAlteredRecord_saysWhereItDiffers(
    story: Any,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Doctored(Indexer):
        """A chain that tells one thing otherwise."""

        def sync(self) -> MarketHistory:
            market = super().sync()
            DOCTORED[where](market.jobs[story.job])
            return market

    monkeypatch.setattr(audit, "Indexer", Doctored)
    # Records differ without any recomputing, but for an outcome that nobody questioned.
    sample = 1.0 if "root of task" in where else 0.0
    code = audit_report.print_audit(story.settings, story.job, sample, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert code == 1
    assert said["verdict"] == "INCONSISTENT"
    assert where in said["first difference"]["where"]


def _lose_result(past: JobHistory) -> None:
    """What a node looks like after collecting its garbage: nobody has this content."""
    seal = past.rounds[1].seals[SealStage.WORK, 0, 0]
    check = past.rounds[1].seals[SealStage.CHECK, 0, 0]
    assert seal.outcome is not None
    seal.outcome = check.outcome = dataclasses.replace(seal.outcome, cid=b"gone" * 8)


def test_audit_bySampleOfCollectedResults_saysToRecomputeAll(
    story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collected(Indexer):
        """A market whose workers have released their results."""

        def sync(self) -> MarketHistory:
            market = super().sync()
            _lose_result(market.jobs[story.job])
            return market

    monkeypatch.setattr(audit, "Indexer", Collected)
    with pytest.raises(audit.ResultGone, match=r"round 1: task 0 is not.*without --sample"):
        audit_report.run_audit(story.settings, story.job, 0.0)


# --- what is taken home ---


def test_export_loadsInTransformers(story: Any, tmp_path: Path) -> None:
    from coordinator.take_home import export_job
    from protocol.training.export import generate

    export_job(story.files, story.past, tmp_path / "model")
    text = generate(tmp_path / "model", "def ", 20)
    assert len(text) > 0


def test_everyUnit_canBeCollectedByItsOwner(story: Any) -> None:
    chain, vault = story.chain, story.chain.vault
    money = money_of(story.past)
    earned = dict(money.paid)
    requester = story.requester.address
    earned[requester] = earned.get(requester, 0) + money.refunded
    owners = [actor.owner for actor in story.actors.values()] + [story.requester.owner]
    engine = open_database(None)
    for owner in owners:
        credit = chain.call(vault, "creditOf", owner.address)
        assert credit == earned.get(owner.address, 0)
        if credit:
            before = chain.call(chain.token, "balanceOf", owner.address)
            sender = TxSender(chain, owner, engine)
            sender.send(f"{owner.address}/collect", Call(vault, "collect", (owner.address,)))
            assert chain.call(chain.token, "balanceOf", owner.address) == before + credit
    free, locked, escrows, owed, burnt = chain.call(vault, "totals")
    assert (escrows, owed) == (0, 0)
    assert burnt == money.burnt
    held = chain.call(chain.token, "balanceOf", chain.deployment.vault)
    assert held == free + locked + burnt
    for name in ("worker-1", "worker-2", CHEAT):
        assert chain.call(vault, "lockedOf", story.actors[name].address) == 0
