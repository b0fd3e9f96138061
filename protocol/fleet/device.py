"""One consumer per device: a lock of the home that ends with whoever holds it."""

import fcntl
import os
import re
from pathlib import Path
from typing import Final

from protocol.fleet.errors import FleetError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9:._-]{0,30}")


class DeviceBusy(FleetError):
    """Another consumer of this home computes on this device."""

    def __init__(self, device: str) -> None:
        super().__init__(
            f"another consumer of this home has the device {device}",
            why="Two on one device would compute no faster, and run out of memory sooner.",
            fix="Give each consumer a device of its own with --device.",
        )


def hold_device(home: Path, device: str) -> int:
    """Take the device until the returned file is closed; raises DeviceBusy."""
    if _NAME.fullmatch(device) is None:
        raise FleetError(f"{device!r} names no device", fix="Use a name like cpu, cpu:1 or cuda:0.")
    folder = home / "fleet"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / f"{device}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise DeviceBusy(device) from None
    return handle


def is_busy(home: Path, device: str) -> bool:
    """Tell whether a consumer has the device at this moment."""
    try:
        os.close(hold_device(home, device))
    except DeviceBusy:
        return True
    return False
