"""Names of devices: what a consumer may be told to compute on, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from protocol.fleet.device import AUTO, DeviceBusy, device_name, hold_device, is_busy, torch_device
from protocol.fleet.embedded import EmbeddedConsumer
from protocol.fleet.errors import FleetError
from protocol.runtime.settings import Settings


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["cpu", "cpu:1", "cpu:cheat-one-bit"])
def test_what_follows_the_processor_is_a_name_alone(name: str) -> None:
    assert torch_device(name) == torch.device("cpu")


def test_gpus_are_counted_as_cuda_counts_them(two_gpus: None) -> None:
    assert torch_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(FleetError, match="finds here: cuda:0, cuda:1"):
        torch_device("cuda:2")


def test_device_that_is_not_there_is_named_with_those_that_are(no_gpu: None) -> None:
    with pytest.raises(FleetError, match=r"there is no device cuda:0.*finds here: none"):
        torch_device("cuda:0")


@pytest.mark.parametrize(
    "name", ["", "gpu", "cuda", "cuda:", "cuda:01", "cpu:", "cpu/../x", "tpu:0"]
)
def test_other_names_are_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="names no device"):
        hold_device(tmp_path, name)
    assert not any(tmp_path.iterdir())


def test_auto_is_the_first_gpu(two_gpus: None) -> None:
    assert device_name(AUTO) == "cuda:0"
    assert device_name("cuda:1") == "cuda:1"
    assert device_name("cpu") == "cpu"


def test_auto_without_a_gpu_is_the_processor(no_gpu: None) -> None:
    assert device_name(AUTO) == "cpu"


def test_role_brings_a_consumer_for_the_device_it_was_told(tmp_path: Path, two_gpus: None) -> None:
    settings = Settings(home=tmp_path, device="cuda:1", compute_here=False)
    consumer = EmbeddedConsumer(settings, ["consumer"], settings.device)
    assert consumer.command == ["consumer", "--device", "cuda:1", "--embedded"]


@pytest.mark.parametrize("here", [True, False])
def test_role_does_not_begin_with_a_name_of_no_device(here: bool, tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="'gpu' names no device"):
        EmbeddedConsumer(Settings(home=tmp_path, compute_here=here), ["consumer"], "gpu")


PERSONS = ("coordinator.cli.main", "worker", "compute")
ROLES = ("protocol.role.computing", "--embedded")


@pytest.mark.parametrize("command", [PERSONS, ROLES])
def test_command_says_which_devices_there_are(command: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, "--device", "cuda:99"],
        env=os.environ | {"GRADPROOF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "there is no device cuda:99" in done.stderr
    assert "gradproof doctor" in done.stderr
    assert not (tmp_path / "fleet").exists()


def test_device_is_held_once(tmp_path: Path) -> None:
    hold_device(tmp_path, "cpu:1")
    assert is_busy(tmp_path, "cpu:1")
    assert not is_busy(tmp_path, "cpu")
    with pytest.raises(DeviceBusy, match="cpu:1"):
        hold_device(tmp_path, "cpu:1")
