"""Workers on a GPU, verifiers on processors: the market's checks are `==`, and all of them hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.devices import device_named


@pytest.mark.gpu
def test_processors_confirm_what_a_gpu_trained(tmp_path: Path) -> None:
    device_named("cuda")
    command = [sys.executable, "-m", "coordinator.cli.main", "demo", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--worker-device", "cuda:0", "--keep", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONSISTENT" in done.stdout
    assert "1 verified updates" in done.stdout, "what the GPU computed became the model"
    logs = {
        name: (tmp_path / "demo" / "logs" / f"{name}.log").read_text()
        for name in ("worker-1", "worker-2", "verifier-1")
    }
    devices = {name: set(re.findall(r"device=(\S+)", text)) for name, text in logs.items()}
    assert devices == {"worker-1": {"cuda:0"}, "worker-2": {"cuda:0"}, "verifier-1": {"cpu"}}
