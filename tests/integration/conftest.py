"""One whole job, played once by real processes; the tests look at what it left behind."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from web3.types import RPCEndpoint

from coordinator import devnet as network
from coordinator.cast import Actor, Running, Stage, make_actor, put_up_bonds
from coordinator.faucet import fund
from coordinator.job_file import JobFile, units
from coordinator.post import post_job
from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.role.connection import open_chain
from protocol.role.job_files import JobFiles
from protocol.role.pins import open_pins
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending, JobId, Phase
from protocol.rules.records import Stage as SealStage
from protocol.runtime.settings import Settings
from protocol.storage.cache import Cache
from protocol.storage.cid import Cid
from protocol.storage.store import ContentStore, open_store
from tests.support.small_jobs import TEXTS, TRAINING

BLOCK_SECONDS = 0.4
PLAY_SECONDS = 300.0
WINDOWS = {  # in blocks: a busy machine must not miss a turn
    "waiting": 600,
    "commit": 200,
    "check": 400,
    "reveal": 200,
    "gather": 200,
    "verdict_seal": 200,
    "verdict_open": 100,
    "update": 200,
    "update_check": 400,
    "update_open": 100,
    "update_challenge": 20,
}
CHEAT, KILLED = "worker-3", "worker-1"


@dataclass(frozen=True)
class Story:
    """A finished job and everybody who took part."""

    chain: Chain
    stage: Stage
    settings: Settings
    job: JobId
    past: JobHistory
    files: JobFiles
    actors: dict[str, Actor]
    requester: Actor
    root: Path
    too_early: subprocess.CompletedProcess[str]
    """`job forget` while the job ran."""
    metrics: dict[str, str]
    """What each role said of itself, just before it was told to stop."""

    def forget(self, home: Path) -> subprocess.CompletedProcess[str]:
        """`job forget` in one home, now."""
        return forget(self.stage, home, self.job)


class Director:
    """Waits for what the processes do, watches that none ends, and shortens idle windows."""

    def __init__(self, chain: Chain, stage: Stage) -> None:
        self.chain = chain
        self.indexer = Indexer(chain, open_database(None))
        self.stage = stage
        self.until = time.monotonic() + PLAY_SECONDS

    def wait(self, job: JobId, what: str, happened: Callable[[JobHistory], bool]) -> JobHistory:
        while True:
            self.stage.check()
            past = self.indexer.sync().jobs[job]
            if happened(past):
                return past
            self._skip_idle_window(past)
            assert time.monotonic() < self.until, f"no sign of: {what}"
            time.sleep(0.1)

    def _skip_idle_window(self, past: JobHistory) -> None:
        """A challenge window runs to its end though everybody has done what there was to do."""
        round_ = past.open_round
        if round_ is None:
            return
        gathered = round_.phase == Phase.GATHER and len(round_.gathered) == past.terms.gatherers
        left = round_.deadline - self.chain.head() - 1
        if (gathered or round_.phase == Phase.UPDATE_CHALLENGE) and left > 0:
            self.chain.web3.provider.make_request(RPCEndpoint("anvil_mine"), [hex(left)])


def kill_and_start_again(stage: Stage, actor: Actor) -> None:
    """SIGKILL, which nothing can prepare for, and the same command in the same home."""
    role = next(r for r in stage.running if r.name == actor.name)
    role.process.kill()
    assert role.process.wait(10) == -signal.SIGKILL
    stage.running.remove(role)
    stage.start(actor, "worker", "run", "--slots", "1")


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Three workers of whom one flips a bit and one is killed, three verifiers, a coordinator."""
    root = tmp_path_factory.mktemp("story")
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
        names = ["coordinator", *(f"{r}-{i}" for r in ("worker", "verifier") for i in (1, 2, 3))]
        actors = {name: make_actor(root, name) for name in names}
        put_up_bonds(chain, root, list(actors.values()))
        for i in (1, 2, 3):
            stage.start(actors[f"verifier-{i}"], "verifier", "run", "--slots", "3")
        for name in ("worker-1", "worker-2"):
            stage.start(actors[name], "worker", "run", "--slots", "1")
        stage.start(actors[CHEAT], "worker", "run", "--slots", "1", "--dishonest", "one-bit")
        requester = make_actor(root, "requester")
        with open_store(settings.apis) as store:
            files = JobFiles(store, Cache(settings.cache_path, settings.cache_bytes))
            job = _post(chain, settings, files, root, requester, actors["coordinator"])
            director = Director(chain, stage)
            director.wait(job, "three workers", lambda p: len(p.roster) == 3)
            stage.start(actors["coordinator"], "coordinator", "run")
            victim = actors[KILLED].address
            director.wait(job, "a seal", lambda p: _has_sealed(p, victim))
            kill_and_start_again(stage, actors[KILLED])
            too_early = forget(stage, settings.home, job)
            past = director.wait(job, "the end", lambda p: p.ending != Ending.NONE)
            director.wait(job, "workers gone home", lambda p: not p.roster)
            _wait_until_released(store, past)
            metrics = {role.name: _metrics(role) for role in stage.running}
            stage.stop()
            yield Story(
                chain,
                stage,
                settings,
                job,
                past,
                files,
                actors,
                requester,
                root,
                too_early,
                metrics,
            )
    finally:
        stage.stop()
        network.stop(root / "devnet")


def _metrics(role: Running) -> str:
    """A role's metrics, by the address that its log names; it is alive and ready."""
    found = re.search(r"metrics served.*url=\S*(http://[\d.]+:\d+)", role.log.read_text())
    assert found is not None, role.log
    for path in ("health", "ready"):
        assert requests.get(f"{found[1]}/{path}", timeout=10).status_code == 200
    return requests.get(f"{found[1]}/metrics", timeout=10).text


def forget(stage: Stage, home: Path, job: JobId) -> subprocess.CompletedProcess[str]:
    """`gradproof job forget` in one home."""
    command = [sys.executable, "-m", "coordinator.cli.main", "job", "forget", str(job), "--json"]
    environment = stage.environment(None, home)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def results_of(past: JobHistory) -> list[Cid]:
    """The names of every result that was opened in this job."""
    return [
        Cid.raw(seal.outcome.cid)
        for round_ in past.rounds
        for seal in round_.seals.values()
        if seal.stage == SealStage.WORK and seal.outcome is not None
    ]


def _wait_until_released(store: ContentStore, past: JobHistory) -> None:
    """Every role lets its results go at the first block after the job."""
    until = time.monotonic() + PLAY_SECONDS
    while any(holding.pinned for cid in results_of(past) for holding in store.find(cid)):
        assert time.monotonic() < until, "results stay pinned after the job"
        time.sleep(0.2)


def _has_sealed(past: JobHistory, provider: str) -> bool:
    return any(
        seal.provider == provider and seal.stage == SealStage.WORK
        for round_ in past.rounds
        for seal in round_.seals.values()
    )


def _post(
    chain: Chain,
    settings: Settings,
    files: JobFiles,
    root: Path,
    requester: Actor,
    coordinator: Actor,
) -> JobId:
    fund(chain, root, [(requester.address, units(Decimal(100)))])
    job_file = JobFile.model_validate(
        {
            "data": TEXTS,
            "training": TRAINING,
            "market": {
                "coordinator": coordinator.operator.address,
                "checks": TRAINING["tasks"],  # all, so that the cheat is caught at once
                "min_workers": 2,  # the cheat's slot goes with its bond
                "windows": WINDOWS,
            },
        }
    )
    sender = TxSender(chain, requester.owner, open_database(settings.home / "chain.sqlite"))
    return post_job(
        chain, sender, files.store, job_file, lambda _what, _done, _total: None, open_pins(settings)
    )


@pytest.fixture(scope="session")
def audit_process(story: Story) -> subprocess.CompletedProcess[str]:
    """A stranger's audit: a new process, an empty home, no key."""
    return subprocess.run(
        [sys.executable, "-m", "coordinator.cli.main", "audit", str(story.job), "--json"],
        env=story.stage.environment(None, story.root / "auditor"),
        capture_output=True,
        text=True,
        timeout=120,
    )
