"""A worker is told to leave in the middle of a round: it finishes, takes its bond out, and ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coordinator import devnet as network
from coordinator.cast import DEPOSIT, Actor, Running, Stage, make_actor, put_up_bonds
from protocol.role.connection import open_chain
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending, TaskResult
from protocol.rules.records import Stage as SealStage
from protocol.runtime.settings import Settings
from tests.integration.conftest import WINDOWS, Director
from tests.integration.test_takeover import has_sealed
from tests.support.posting import post_small_job

BLOCK_SECONDS = 0.4
PATIENCE = 90.0
MARKET = {"checks": 1, "min_workers": 1, "windows": WINDOWS}
LEAVER, STAYER = "worker-1", "worker-2"


@dataclass(frozen=True)
class Story:
    """A job of one round, and how everybody came to an end."""

    past: JobHistory
    leaver: Actor
    stayer: Actor
    log: str
    code: int | None
    locked: int
    free: int
    left_in: list[int]  # blocks in which it took a slot out
    codes: dict[str, int]
    weighed: dict[str, Any]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    root = tmp_path_factory.mktemp("leaving")
    net = network.start(root / "devnet", block_time=BLOCK_SECONDS)
    stage = Stage(root, net)
    try:
        settings = Settings(
            home=root / "requester",
            rpc_url=net.rpc_url,
            ipfs_api=net.ipfs_api,
            deployment=Path(net.deployment),
        )
        chain = open_chain(settings)
        names = ["coordinator", LEAVER, STAYER, "verifier"]
        actors = {name: make_actor(root, name) for name in names}
        put_up_bonds(chain, root, list(actors.values()))
        stage.start(actors["verifier"], "verifier", "run", "--slots", "9")
        job = post_small_job(chain, settings, root, actors["coordinator"], MARKET, rounds=1)
        director = Director(chain, stage)
        for name in (LEAVER, STAYER):
            stage.start(actors[name], "worker", "run", "--slots", "1")
        director.wait(job, "two workers", lambda p: len(p.roster) == 2)
        weighed = capacity(stage, actors[LEAVER])
        stage.start(actors["coordinator"], "coordinator", "run")
        director.wait(job, "a seal", lambda p: has_sealed(p, actors[LEAVER]))

        role = tell_to_leave(stage, LEAVER)
        director.wait(job, "the worker gone", lambda _: role.process.poll() is not None)
        past = director.wait(job, "the end", lambda p: p.ending != Ending.NONE)
        director.wait(job, "workers gone home", lambda p: not p.roster)
        owner = actors[LEAVER].address
        locked, free = (chain.call(chain.vault, f"{name}Of", owner) for name in ("locked", "free"))
        logs = chain.market.events.WorkerLeft().get_logs(from_block=0)
        left_in = [log["blockNumber"] for log in logs if log["args"]["provider"] == owner]
        for other in stage.running:
            os.kill(other.process.pid, signal.SIGTERM)
        codes = {other.name: other.process.wait(PATIENCE) for other in stage.running}
        log = role.log.read_text()
        people = actors[LEAVER], actors[STAYER]
        code = role.process.returncode
        yield Story(past, *people, log, code, locked, free, left_in, codes, weighed)
    finally:
        stage.stop()
        network.stop(root / "devnet")


def tell_to_leave(stage: Stage, name: str) -> Running:
    """SIGTERM, once; the stage no longer minds that it ends."""
    role = next(r for r in stage.running if r.name == name)
    stage.running.remove(role)
    os.kill(role.process.pid, signal.SIGTERM)
    return role


def capacity(stage: Stage, actor: Actor) -> dict[str, Any]:
    """`gradproof worker capacity` in an operator's home."""
    command = [sys.executable, "-m", "coordinator.cli.main", "worker", "capacity", "--json"]
    environment = stage.environment(actor, actor.home)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sealers(past: JobHistory) -> set[str]:
    seals = past.rounds[0].seals.items()
    return {seal.provider for (stage, _, _), seal in seals if stage == SealStage.WORK}


@pytest.mark.slow
def test_worker_that_is_told_to_leave_ends_well_by_itself(story: Story) -> None:
    assert story.code == 0, story.log
    assert "to open" in story.log
    assert "to leave job 1 with 1 slot" in story.log
    [left] = story.left_in
    assert left < story.past.rounds[0].finalised_at, "it did not wait for the round to be settled"


@pytest.mark.slow
def test_its_work_is_included_and_its_bond_is_whole(story: Story) -> None:
    assert story.leaver.address in sealers(story.past)
    assert set(story.past.rounds[0].results.values()) == {TaskResult.INCLUDED}
    assert (story.locked, story.free) == (0, DEPOSIT)
    assert story.leaver.address not in story.past.slashed


@pytest.mark.slow
def test_others_complete_the_job(story: Story) -> None:
    assert story.past.ending == Ending.COMPLETED
    assert story.past.updates == 1
    assert story.stayer.address in sealers(story.past)


@pytest.mark.slow
def test_operator_sees_what_its_consumer_can_do(story: Story) -> None:
    [consumer] = story.weighed["consumers"]
    assert consumer["device"] == "cpu"
    assert 0 < consumer["free"] <= consumer["memory"]
    [job] = story.weighed["jobs"]
    assert (job["joined"], job["room"]) == (1, {"slots": 2, "reason": ""}), "three tasks, two slots"
    [trial] = job["trials"]
    assert trial["consumer"] == consumer["name"]
    assert 0 < trial["peak"] <= consumer["memory"]
    assert trial["seconds"] > 0


@pytest.mark.slow
def test_roles_without_a_job_end_at_once(story: Story) -> None:
    assert len(story.codes) == 3
    assert set(story.codes.values()) == {0}
