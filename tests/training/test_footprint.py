"""The floor of a task's memory: from shapes alone, right about parameters, never over the truth."""

import dataclasses

import pytest

from protocol.training.authoring import JobSettings, author_job
from protocol.training.errors import ProgramError
from protocol.training.footprint import parameters, require_memory, task_bytes
from protocol.training.manifest import Manifest
from protocol.training.model import skeleton
from protocol.training.model_config import Gpt2Config
from tests.support.small_jobs import TEXTS, TRAINING


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return author_job(TEXTS, tmp_path_factory.mktemp("job"), JobSettings(**TRAINING)).manifest


def sized(manifest: Manifest, **changes: int) -> Manifest:
    assert isinstance(manifest.model, Gpt2Config)
    return dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, **changes))


@pytest.mark.parametrize("changes", [{}, {"layers": 3}, {"width": 48, "heads": 3}])
def test_parameters_are_those_of_the_model(manifest: Manifest, changes: dict[str, int]) -> None:
    changed = sized(manifest, **changes)
    built = skeleton(changed).module.parameters()
    assert parameters(changed.model) == sum(tensor.numel() for tensor in built)


def test_largest_model_that_parses_is_refused_without_being_made(manifest: Manifest) -> None:
    """300 billion parameters: its skeleton alone would be seconds, its state terabytes."""
    largest = sized(manifest, width=1 << 14, layers=96, heads=256, vocabulary=1 << 18)
    assert task_bytes(largest) > 5 << 40
    with pytest.raises(ProgramError, match="needs at least"):
        require_memory(largest, 1 << 40)
    require_memory(manifest, task_bytes(manifest))
    with pytest.raises(ProgramError, match="parameters"):
        require_memory(manifest, task_bytes(manifest) - 1)


def test_more_of_anything_needs_no_less(manifest: Manifest) -> None:
    floor = task_bytes(manifest)
    assert task_bytes(sized(manifest, layers=2)) > floor
    assert task_bytes(sized(manifest, width=64)) > floor
    batch = dataclasses.replace(manifest.batch, sequences=2 * manifest.batch.sequences)
    assert task_bytes(dataclasses.replace(manifest, batch=batch)) > floor
