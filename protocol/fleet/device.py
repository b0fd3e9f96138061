"""Devices: what a consumer computes on, named, found, and held by one consumer at a time.

`cpu` is the processor; what follows its colon is a name alone (`cpu:1`), so that a host can have
several consumers. `cuda:N` is a GPU by CUDA's count.
"""

import fcntl
import os
import re
from pathlib import Path
from typing import Final

import torch

from protocol.fleet.errors import FleetError

AUTO: Final = "auto"
"""Stands for the first GPU, or the processor where there is none."""

_CPU: Final = re.compile(r"cpu(:[a-z0-9._-]{1,30})?")
_CUDA: Final = re.compile(r"cuda:(0|[1-9][0-9]{0,2})")


class DeviceBusy(FleetError):
    """Another consumer of this home computes on this device."""

    def __init__(self, device: str) -> None:
        super().__init__(
            f"another consumer of this home has the device {device}",
            why="Two on one device would compute no faster, and run out of memory sooner.",
            fix="Give each consumer a device of its own with --device.",
        )


def device_name(setting: str) -> str:
    """The name that a setting means: itself, or what `auto` finds; raises FleetError for no name.

    A device of that name need not be there.
    """
    if setting == AUTO:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if not (_CPU.fullmatch(setting) or _CUDA.fullmatch(setting)):
        fix = "Use a name like cpu, cpu:1 or cuda:0."
        raise FleetError(f"{setting!r} names no device", fix=fix)
    return setting


def torch_device(name: str) -> torch.device:
    """PyTorch's device of this name; raises FleetError where it is no name or not there."""
    kind, _, rest = device_name(name).partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    number, there = int(rest), torch.cuda.device_count()
    if number >= there:
        devices = ", ".join(f"cuda:{n}" for n in range(there)) or "none"
        raise FleetError(
            f"there is no device {name}",
            why=f"CUDA devices that PyTorch {torch.__version__} finds here: {devices}.",
            fix="Name one of those, or cpu; `gradproof doctor` shows what is there.",
        )
    return torch.device("cuda", number)


def hold_device(home: Path, name: str) -> int:
    """Take the device, there or not, until the returned file is closed.

    Raises DeviceBusy, FleetError for no name, OSError.
    """
    device = device_name(name)
    folder = home / "fleet"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / f"{device}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise DeviceBusy(device) from None
        raise
    return handle


def is_busy(home: Path, device: str) -> bool:
    """Tell whether a consumer has the device at this moment; raises FleetError, OSError."""
    try:
        os.close(hold_device(home, device))
    except DeviceBusy:
        return True
    return False
