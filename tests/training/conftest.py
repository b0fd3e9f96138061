"""A job small enough to be computed many times in a test run."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from protocol.storage.cid import Cid
from protocol.training.authoring import Authored, JobSettings, author_job
from protocol.training.bundle import read_bundle
from protocol.training.data import Dataset, open_dataset
from protocol.training.manifest import Manifest
from protocol.training.model import schema


@dataclass(frozen=True)
class Job:
    authored: Authored
    manifest: Manifest
    state: dict[str, Tensor]
    dataset: Dataset
    path_of: Callable[[Cid], Path]


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    source = Path(sysconfig.get_path("stdlib"), "json")
    for path in sorted(source.glob("*.py")):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="session")
def settings() -> JobSettings:
    return JobSettings(
        name="test job",
        layers=2,
        width=16,
        heads=2,
        sequence_length=16,
        sequences=4,
        micro_batches=2,
        rounds=4,
        tasks=3,
        evaluation_sequences=8,
        seed=7,
    )


@pytest.fixture(scope="session")
def job(text_folder: Path, settings: JobSettings, tmp_path_factory: pytest.TempPathFactory) -> Job:
    torch.set_num_threads(1)
    authored = author_job(text_folder, tmp_path_factory.mktemp("job"), settings)
    manifest = authored.manifest
    path_of = authored.files.__getitem__
    index = authored.genesis.index_path.read_bytes()
    state = read_bundle(index, path_of, schema(manifest), manifest.genesis.root)
    return Job(authored, manifest, state, open_dataset(manifest, path_of), path_of)
