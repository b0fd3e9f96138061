"""The demo ends with everything it started, also when it is told to end half-way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow


def started_below(root: Path) -> list[psutil.Process]:
    """Every process that names the demo's folder in its command line or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), process.environ().get("GRADPROOF_HOME", "")]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(root) in part for part in told):
            found.append(process)
    return found


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Tests that run in the background of a shell ignore SIGINT, and so would what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "coordinator.cli.main", "demo", "--rounds", "1"]
    with (root.parent / f"{root.name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--keep", str(root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for(root: Path, path: str, demo: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 90
    while not (root / path).exists():
        assert demo.poll() is None, (root.parent / f"{root.name}.log").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)


def end(demo: subprocess.Popen[bytes], number: int, root: Path) -> None:
    """Send a signal and see everything gone."""
    pids = [demo.pid, *(p.pid for p in started_below(root))]
    demo.send_signal(number)
    assert demo.wait(60) == 130
    assert [p.pid for p in started_below(root)] == []
    anvils = [p for p in psutil.pids() if p in pids and psutil.Process(p).status() != "zombie"]
    assert anvils == []
    said = (root.parent / f"{root.name}.log").read_text()
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "devnet/devnet.log"),  # the network is being started
        (signal.SIGTERM, "logs/worker-3.log"),  # all roles but the coordinator run
    ],
)
def test_demo_toldToEnd_leavesNoProcessBehind(tmp_path: Path, number: int, moment: str) -> None:
    root = tmp_path / "demo"
    demo = start(root)
    try:
        wait_for(root, moment, demo)
        end(demo, number, root)
        # And it can be started again at once.
        again = tmp_path / "again"
        demo = start(again)
        wait_for(again, "devnet/devnet.json", demo)
        end(demo, number, again)
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(60)
