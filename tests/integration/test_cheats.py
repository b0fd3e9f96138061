"""Every way of cheating that a worker can be told to play changes what it seals."""

from pathlib import Path

import pytest

from protocol.rules.records import JobId
from protocol.training.authoring import JobSettings, author_job
from protocol.training.bundle import read_bundle, write_bundle
from protocol.training.data import open_dataset
from protocol.training.model import schema
from protocol.training.program import Result, compute_task
from tests.support.small_jobs import TEXTS, TRAINING
from worker.dishonest import tamper_with

JOB = JobId(1)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """The same task in two rounds, computed honestly from the same state."""
    folder = tmp_path_factory.mktemp("job")
    authored = author_job(TEXTS, folder, JobSettings(**TRAINING))
    manifest = authored.manifest
    dataset = open_dataset(manifest, authored.files.__getitem__)
    index = authored.genesis.index_path.read_bytes()
    state = read_bundle(index, authored.files.__getitem__, schema(manifest), authored.genesis.root)
    return [compute_task(manifest, state, dataset, round_, 0) for round_ in (0, 1)]


def cid_of(result: Result, folder: Path) -> bytes:
    return write_bundle(result.tensors, folder).index_digest


@pytest.mark.parametrize("mode", ["zero", "scaled", "one-bit", "stale"])
def test_cheat_sealsAnotherOutcome(mode: str, honest: list[Result], tmp_path: Path) -> None:
    tamper = tamper_with(mode)
    if mode == "stale":  # the first answer is the one that is repeated
        assert tamper(JOB, honest[0]).root == honest[0].root
    spoilt = tamper(JOB, honest[1])
    assert spoilt.root != honest[1].root
    assert cid_of(spoilt, tmp_path / "spoilt") != cid_of(honest[1], tmp_path / "honest")
    assert spoilt.witness == honest[1].witness, "the strongest form: only the numbers are wrong"
    assert spoilt.tensors.keys() == honest[1].tensors.keys(), "and nothing else gives it away"
