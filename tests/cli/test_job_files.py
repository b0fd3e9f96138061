"""A bad job file is refused by name before anything is published or sent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.small_jobs import job_file_text

COORDINATOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
Refused = Callable[..., str]
pytestmark = pytest.mark.usefixtures("untouched")


@pytest.fixture
def post(refused: Refused, tmp_path: Path) -> Callable[..., str]:
    """Post a job file, which must be refused."""

    def run(**sections: str | Path) -> str:
        path = tmp_path / "job.toml"
        path.write_text(job_file_text(COORDINATOR, **sections))  # type: ignore[arg-type]
        return refused("job", "post", path)

    return run


BAD = {
    # unknown fields
    "colour": {"top": 'colour = "red"'},
    "training.speed": {"training": 'speed = "high"'},
    "market.tip": {"market": "tip = 3"},
    "market.windows.lunch": {"market": "[market.windows]\nlunch = 9"},
    # wrong types
    "data": {"top": "data = 7"},
    "training.layers": {"training": 'layers = "four"'},
    "training.rounds": {"training": "rounds = true"},
    "training.learning_rate": {"training": 'learning_rate = "fast"'},
    "market.panel": {"market": 'panel = "three"'},
    "market.reward": {"market": 'reward = "much"'},
    "market.windows.commit": {"market": "[market.windows]\ncommit = 0"},
    # amounts and numbers that make no job
    "market.fee": {"market": 'fee = "-1"'},
    "market.bond": {"market": 'bond = "0.0000000000000000001"'},
    "market.checks": {"market": "checks = 0"},
    "market.coordinator": {"market": 'coordinator = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"'},
}


@pytest.mark.parametrize("field", BAD)
def test_badField_isNamed(post: Callable[..., str], field: str) -> None:
    said = post(**BAD[field])
    assert f"field {field} is not usable" in said
    assert "why: " in said
    assert "fix: " in said


def test_negativeReward_isRefused(post: Callable[..., str]) -> None:
    assert "market.reward" in post(market='reward = "-1"')


BEYOND = {
    "reward": {"market": 'reward = "0"'},
    "checks": {"market": "checks = 4"},  # of three tasks
    "gatherers": {"market": "gatherers = 4"},
    "fee": {"market": 'fee = "0.5"'},
    "bond": {"market": 'bond = "0.1"'},
    "tasks": {"training": "tasks = 257"},
    "rounds": {"training": "rounds = 100001"},
    "panel": {"market": "panel = 15"},
    "windows.gather": {"market": "[market.windows]\ngather = 1"},
    "windows.waiting": {"market": "[market.windows]\nwaiting = 4294967296"},
    "max_failed_rounds": {"market": "max_failed_rounds = 256"},
    "min_verifiers": {"market": "min_verifiers = 65536"},
}


@pytest.mark.parametrize("term", BEYOND)
def test_termThatTheMarketRefuses_isNamedBeforeAnythingIsSent(
    post: Callable[..., str], term: str
) -> None:
    said = post(**BEYOND[term])
    assert f"{term} = " in said
    assert "is not allowed" in said
    assert "fix: " in said


SILLY_MODELS = ["heads = 3", "layers = 0", "width = -32", "sequence_length = 0", "sequences = 0"]
SILLY_MODELS += ["evaluation_sequences = 0", 'activation = "tea"', 'tokenizer = "mine"', "b = 15"]
SILLY_MODELS += ["learning_rate = nan", "betas = [1.0]", 'betas = ["a", "b"]', "patterns = [3]"]
SILLY_MODELS += ["most_bytes = 0", "norm_clip = 0.0", "seed = -1", 'name = "<script>"']


@pytest.mark.parametrize("line", SILLY_MODELS)
def test_modelThatMakesNoSense_isRefused(post: Callable[..., str], line: str) -> None:
    post(training=line)


def test_missingSection_isNamed(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('data = "."\n')
    assert "market" in refused("job", "post", path)


@pytest.mark.parametrize("content", [b"[market", b"\xff\xfe", b""])
def test_fileThatIsNoJobFile_isRefused(refused: Refused, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(content)
    refused("job", "post", path)


def test_missingFile_andFolder_areRefused(refused: Refused, tmp_path: Path) -> None:
    assert "there is no job file" in refused("job", "post", tmp_path / "none.toml")
    assert "there is no job file" in refused("job", "post", tmp_path)


def test_missingDataFolder_isNamed(post: Callable[..., str], tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path / 'gone'}" in post(data=tmp_path / "gone")


def test_dataFolderWithoutText_isNamed(post: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "noise.py").write_bytes(b"\xff\xfe\x00" * 100)
    said = post(data=tmp_path / "data")
    assert "holds no text" in said
    assert "fix: " in said


def test_dataFolderWithTooLittleText_isNamed(post: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "short.py").write_text("x")
    assert "short" in post(data=tmp_path / "data")


def test_escrowThatTheWalletCannotCover_isRefused(post: Callable[..., str]) -> None:
    said = post(market='reward = "150"\nfee = "150"')
    assert "are missing" in said
    assert "Fund the wallet" in said
