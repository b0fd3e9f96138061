"""What a job and a wallet look like, for people and as JSON; and the development network."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from eth_account import Account

from protocol.chain.client import Chain
from protocol.rules.amounts import UNITS, whole
from protocol.runtime.settings import load_settings
from tests.support.command_line import Gradproof
from tests.support.small_jobs import job_file_text

Refused = Callable[..., str]
OWNER = Account.from_key(b"\x0a" * 32).address


@pytest.mark.parametrize(
    ("units", "shown"),
    [
        (0, "0"),
        (1, "0.000000000000000001"),
        (UNITS // 10, "0.1"),
        (3 * UNITS // 2, "1.5"),
        (10 * UNITS, "10"),
        (200 * UNITS, "200"),
        (2**96, "79228162514.264337593543950336"),
    ],
)
def test_whole_isExact(units: int, shown: str) -> None:
    assert whole(units) == shown


def test_jobFromFileToExport(
    gradproof: Gradproof,
    refused: Refused,
    chain: Chain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its owner types the password."""
    typed = os.environ["GRADPROOF_PASSWORD"]
    monkeypatch.delenv("GRADPROOF_PASSWORD")
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: typed)

    def read(*arguments: object, code: int = 0) -> dict[str, object]:
        said = gradproof(*arguments, "--json")
        assert said.code == code, said
        fields = json.loads(said.out)
        assert isinstance(fields, dict)
        return fields

    path = tmp_path / "job.toml"
    path.write_text(job_file_text(OWNER))
    job = read("job", "post", path)["job"]
    assert job == chain.call(chain.market, "jobs")

    shown = read("job", "show", job)
    assert shown["status"] == "waiting for the coordinator"
    assert shown["escrow"] == "16"  # 2 rounds of 3 x 1 + 2 x 1 + 6 x 0.5
    rows = read("job", "show")["jobs"]
    assert isinstance(rows, list)
    assert rows[-1] == {"job": job, "status": shown["status"]}
    assert read("wallet", "show", "requester")["tokens"] == "984"

    audit = read("audit", job)
    assert audit["verdict"] == "CONSISTENT"
    assert audit["rounds"] == 0

    model = tmp_path / "model"
    exported = read("job", "export", job, "--out", model)
    assert exported["root"] == shown["state root"]
    assert (model / "model.safetensors").stat().st_size > 0
    assert "exists already" in refused("job", "export", job, "--out", model)

    said = gradproof("job", "show", job)
    assert "waiting for the coordinator" in said.out
    gradproof("job", "stop", job)
    assert read("job", "show", job)["status"] == "stopped"
    # What follows ends at once, since the job has ended.
    assert read("job", "watch", job)["refunded"] == "16"


def test_devnet_startsAndEndsTwice(
    gradproof: Gradproof, refused: Refused, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    for name in ("RPC_URL", "IPFS_API", "DEPLOYMENT"):
        monkeypatch.delenv(f"GRADPROOF_{name}")
    up = gradproof("devnet", "up", "--block-time", "0.2")
    assert up.code == 0, up
    try:
        assert "runs from" in refused("devnet", "up")
        # The network of this home needs no address.
        assert json.loads(gradproof("job", "show", "--json").out) == {"jobs": []}
        gradproof("devnet", "fund", "requester", "--tokens", "20")
        shown = gradproof("wallet", "show", "requester", "--json")
        assert json.loads(shown.out)["tokens"] == "20"
    finally:
        down = gradproof("devnet", "down")
    assert "ended" in down.out
    assert "nothing to end" in gradproof("devnet", "down").out
    assert not (home / "devnet.json").exists()


def test_demoInAFolderThatHoldsSomething_isRefused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "mine").touch()
    assert "is not empty" in refused("demo", "--keep", tmp_path / "keep")
    assert [p.name for p in (tmp_path / "keep").iterdir()] == ["mine"]


def test_earnings_ofSomebodyWithoutTasks_areNone(
    gradproof: Gradproof, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = gradproof("worker", "earnings", "--provider", OWNER, "--json")
    assert json.loads(said.out) == {"provider": OWNER, "paid": "0", "lost": "0", "tasks": []}
    assert (
        "0 tasks, 0 tokens paid, 0 lost" in gradproof("worker", "earnings", "--provider", OWNER).out
    )
    monkeypatch.delenv("GRADPROOF_PROVIDER", raising=False)
    assert "GRADPROOF_PROVIDER" in refused("worker", "earnings")
    assert "checksummed" in refused("worker", "earnings", "--provider", OWNER.lower())


def test_secrets_comeFromFiles_andTheEnvironmentWins(
    home: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRADPROOF_PASSWORD")
    (tmp_path / "gradproof_password").write_text("from a file\n")
    monkeypatch.setenv("GRADPROOF_SECRETS", str(tmp_path))
    assert load_settings().password.get_secret_value() == "from a file"
    monkeypatch.setenv("GRADPROOF_PASSWORD", "from the environment")
    assert load_settings().password.get_secret_value() == "from the environment"
    monkeypatch.setenv("GRADPROOF_SECRETS", str(tmp_path / "elsewhere"))
    assert "GRADPROOF_SECRETS" in refused("wallet", "show", "requester")


def test_secret_thatThisUserMayNotRead_isSaid(
    home: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a container runs as another user than the one who made the file."""
    secret = tmp_path / "gradproof_password"
    secret.write_text("from a file\n")
    monkeypatch.setenv("GRADPROOF_SECRETS", str(tmp_path))
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != secret and allowed(path, mode))
    assert f"may not read {secret}" in refused("wallet", "show", "requester")
