"""A role's own consumer that cannot run: said once in each pause, and the role goes on."""

import errno
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from protocol.fleet.device import hold_device
from protocol.fleet.embedded import EmbeddedConsumer
from protocol.fleet.pauses import LONGEST_PAUSE
from protocol.runtime.settings import Settings
from tests.fleet.conftest import Clock

REFUSES = ["sh", "-c", "exit 2"]
RUNS = ["sh", "-c", "cat"]


def tended_for(seconds: int, consumer: EmbeddedConsumer, clock: Clock) -> dict[float, str]:
    """Tend it twice a second; what it complained of, by the second."""
    began, complaints = clock.now, {}
    for _ in range(2 * seconds):
        settle(consumer)
        with capture_logs() as said:
            consumer.tend()
        for line in said:
            assert line["log_level"] == "error"
            complaints[clock.now - began] = f"{line['event']}: {line}"
        clock.now += 0.5
    return complaints


def settle(consumer: EmbeddedConsumer) -> None:
    """Wait until its process has ended, which the next look finds."""
    if consumer.process is not None:
        consumer.process.wait(10)


def test_gpu_that_is_gone_ends_no_role(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    consumer = EmbeddedConsumer(Settings(home=tmp_path), REFUSES, "cuda:0", clock)
    with consumer:
        complaints = tended_for(200, consumer, clock)
    assert list(complaints) == [0.0, 2.5, 7.0, 15.5, 32.0, 64.5, 125.0, 185.5]
    assert all("consumer ended" in said and "'code': 2" in said for said in complaints.values())


def test_consumer_that_ran_well_is_started_again_soon(tmp_path: Path, clock: Clock) -> None:
    consumer = EmbeddedConsumer(Settings(home=tmp_path), REFUSES, "cpu", clock)
    with consumer:
        tended_for(100, consumer, clock)
        consumer.command = RUNS
        clock.now += LONGEST_PAUSE
        consumer.tend()
        clock.now += LONGEST_PAUSE + 1
        assert consumer.process is not None
        consumer.process.kill()
        consumer.command = REFUSES
        assert list(tended_for(10, consumer, clock)) == [0.0, 2.5, 7.0]


def test_system_that_starts_no_process_ends_no_role(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    consumer = EmbeddedConsumer(Settings(home=tmp_path), RUNS, "cpu", clock)
    with monkeypatch.context() as patch:
        patch.setattr("protocol.fleet.embedded.subprocess.Popen", refuse)
        complaints = tended_for(10, consumer, clock)
    assert list(complaints) == [0.0, 2.0, 6.0]
    assert all("Cannot allocate memory" in said for said in complaints.values())
    clock.now += LONGEST_PAUSE
    with consumer:
        assert consumer.process is not None, "as soon as there is memory again"


def test_consumer_of_somebody_else_is_left_alone(tmp_path: Path, clock: Clock) -> None:
    hold_device(tmp_path, "cpu:1")
    with EmbeddedConsumer(Settings(home=tmp_path), RUNS, "cpu:1", clock) as consumer:
        assert tended_for(5, consumer, clock) == {}
        assert consumer.process is None
    elsewhere = Settings(home=tmp_path, compute_here=False)
    with EmbeddedConsumer(elsewhere, RUNS, "cuda:0", clock) as consumer:
        assert consumer.process is None, "others compute for this role"
