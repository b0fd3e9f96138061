"""In the first round a worker is slow and the coordinator vanishes; the others finish the job."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from coordinator import devnet as network
from coordinator.cast import Actor, Stage, make_actor, put_up_bonds
from protocol.chain.client import Chain
from protocol.role.connection import open_chain
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending, Phase, TaskResult
from protocol.rules.records import Stage as SealStage
from protocol.runtime.settings import Settings
from tests.integration.conftest import WINDOWS, Director
from tests.support.posting import post_small_job

BLOCK_SECONDS = 0.4
# The second half of Commit must leave time to compute on a busy machine; nobody proposes in Update.
SHORT = WINDOWS | {"commit": 120, "update": 60}
MARKET = {"checks": 2, "min_workers": 2, "windows": SHORT}


def slow_down(stage: Stage, actor: Actor) -> None:
    """Its machine computes no more for now; the role itself goes on."""
    role = next(r for r in stage.running if r.name == actor.name)
    for consumer in psutil.Process(role.process.pid).children():
        consumer.suspend()


def vanish(stage: Stage, actor: Actor) -> None:
    """SIGKILL, and nobody starts it again."""
    role = next(r for r in stage.running if r.name == actor.name)
    role.process.kill()
    role.process.wait(10)
    stage.running.remove(role)


def has_sealed(past: JobHistory, actor: Actor) -> bool:
    return any(
        seal.stage == SealStage.WORK and seal.provider == actor.address
        for round_ in past.rounds
        for seal in round_.seals.values()
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chain, JobHistory, Stage]]:
    """Two workers, three verifiers, one coordinator."""
    root = tmp_path_factory.mktemp("takeover")
    net = network.start(root / "devnet", block_time=BLOCK_SECONDS)
    # As an operator sets it who has read the guide: events are read two blocks late.
    stage = Stage(root, net, variables={"GRADPROOF_CONFIRMATIONS": "3"})
    try:
        settings = Settings(
            home=root / "requester",
            rpc_url=net.rpc_url,
            ipfs_api=net.ipfs_api,
            deployment=Path(net.deployment),
        )
        chain = open_chain(settings)
        names = ["coordinator", "worker-1", "worker-2", *(f"verifier-{i}" for i in (1, 2, 3))]
        actors = {name: make_actor(root, name) for name in names}
        put_up_bonds(chain, root, list(actors.values()))
        for i in (1, 2, 3):
            stage.start(actors[f"verifier-{i}"], "verifier", "run", "--slots", "3")
        job = post_small_job(chain, settings, root, actors["coordinator"], MARKET, rounds=1)
        director = Director(chain, stage)
        for name in ("worker-1", "worker-2"):
            stage.start(actors[name], "worker", "run", "--slots", "1")
        director.wait(job, "two workers", lambda p: len(p.roster) == 2)
        slow_down(stage, actors["worker-2"])
        stage.start(actors["coordinator"], "coordinator", "run")
        director.wait(job, "a seal", lambda p: has_sealed(p, actors["worker-1"]))
        vanish(stage, actors["coordinator"])
        past = director.wait(job, "the end", lambda p: p.ending != Ending.NONE)
        yield chain, past, stage
    finally:
        stage.stop()
        network.stop(root / "devnet")


@pytest.mark.slow
def test_fast_worker_took_the_tasks_of_the_slow_one_and_was_paid(
    story: tuple[Chain, JobHistory, Stage],
) -> None:
    _, past, _ = story
    [round_] = past.rounds
    assert round_.claims, "the slow worker had tasks"
    assert set(round_.results.values()) == {TaskResult.INCLUDED}
    sealers = {seal.provider for key, seal in round_.seals.items() if key[0] == SealStage.WORK}
    assert len(sealers) == 1


@pytest.mark.slow
def test_gatherer_proposed_in_the_coordinators_place(
    story: tuple[Chain, JobHistory, Stage],
) -> None:
    _, past, _ = story
    [round_] = past.rounds
    assert past.ending == Ending.COMPLETED
    assert past.updates == 1
    assert Phase.SUCCESSION in round_.started
    assert round_.proposal is not None
    assert round_.proposal.seat > 0
    assert not round_.coordinator_removed


@pytest.mark.slow
def test_stranger_finds_it_all_consistent(
    story: tuple[Chain, JobHistory, Stage], tmp_path: Path
) -> None:
    _, past, stage = story
    time.sleep(2 * BLOCK_SECONDS)
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli.main", "audit", str(past.job)],
        env=stage.environment(None, tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONSISTENT" in done.stdout
