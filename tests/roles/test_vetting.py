"""Vetting: nothing is staked on a job whose manifest was not read."""

import itertools
from pathlib import Path

import pytest

from protocol.role.job_files import JobFiles, ManifestDiffers
from protocol.role.vetting import LONGEST_PAUSE, Vetting
from protocol.rules.history import JobHistory
from protocol.storage.cache import Cache
from protocol.storage.errors import StorageError
from protocol.training.manifest import Manifest
from tests.support.sights import Scene


class Unreachable(JobFiles):
    """Files of which every manifest fails to arrive, with a reason."""

    def __init__(self, folder: Path, error: Exception) -> None:
        super().__init__(None, Cache(folder, 1))  # type: ignore[arg-type]  # no store is asked
        self.error = error
        self.asked = 0

    def manifest(self, past: JobHistory) -> Manifest:
        self.asked += 1
        raise self.error


@pytest.fixture
def past() -> JobHistory:
    return Scene().past


def test_manifest_that_does_not_arrive_is_asked_for_ever_more_rarely(
    tmp_path: Path, past: JobHistory
) -> None:
    now = [0.0]
    files = Unreachable(tmp_path, StorageError("nobody has it"))
    vetting = Vetting(files, clock=lambda: now[0])
    asked_at = []
    for second in range(5000):
        now[0] = float(second)
        before = files.asked
        assert not vetting.is_fit(past)
        if files.asked > before:
            asked_at.append(second)
    pauses = [b - a for a, b in itertools.pairwise(asked_at)]
    assert pauses[:4] == [2, 4, 8, 16]
    assert max(pauses) == LONGEST_PAUSE


def test_job_that_was_refused_stays_refused(tmp_path: Path, past: JobHistory) -> None:
    files = Unreachable(tmp_path, ManifestDiffers("other work"))
    vetting = Vetting(files)
    assert [vetting.is_fit(past) for _ in range(5)] == [False] * 5
    assert files.asked == 1
