"""Whether this host serves a role: content store, disk, folders, ports. Needs no chain."""

import errno
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Final

from coordinator.checks import Check, Result, State
from protocol.fleet.device import device_name, torch_device
from protocol.fleet.memory import free_bytes, total_bytes
from protocol.runtime.health import split_address
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store

LEAST_FREE: Final = 5 * 2**30
"""Bytes below which a home is nearly full."""
GIB: Final = 2**30


def host(settings: Settings) -> tuple[Check, ...]:
    """The checks of one configuration; none needs another."""

    def device() -> list[Result]:
        return _device(settings)

    def store() -> list[Result]:
        return _store(settings)

    def disk() -> list[Result]:
        return _disk(settings)

    def keystores() -> list[Result]:
        return _keystores(settings)

    def metrics() -> list[Result]:
        return _metrics(settings)

    return device, store, disk, keystores, metrics


def _device(settings: Settings) -> list[Result]:
    name = device_name(settings.device)
    device = torch_device(name)
    free, total = (size / GIB for size in (free_bytes(device), total_bytes(device)))
    finding = f"{name} computes, {free:.1f} of {total:.1f} GiB free"
    return [Result("device", State.OK, finding)]


def _store(settings: Settings) -> list[Result]:
    if not settings.apis:
        fix = "Start one (`gradproof store serve`) or set GRADPROOF_IPFS_API to a Kubo's."
        return [Result("store", State.WARN, "no daemon is configured to publish to", fix)]
    found = []
    with open_store(settings.apis, settings.gateways) as store:
        for usage in store.describe():
            if usage.why:
                fix = "Start it, or take it out of GRADPROOF_IPFS_API."
                found.append(Result("store", State.FAIL, f"{usage.name}: {usage.why}", fix))
            else:
                kept = f"{(usage.size or 0) / GIB:.2f} GiB in {usage.blocks} blocks"
                most = "" if usage.most is None else f" of {usage.most / GIB:.0f} GiB"
                finding = f"{usage.name}: {usage.version}, {kept}{most}"
                found.append(Result("store", State.OK, finding))
    if any(result.state is State.OK for result in found):
        # One that answers is enough to work with.
        return [
            Result(r.name, State.WARN if r.state is State.FAIL else r.state, r.finding, r.fix)
            for r in found
        ]
    return found


def _disk(settings: Settings) -> list[Result]:
    there = _nearest(settings.home)
    free = shutil.disk_usage(there).free
    finding = f"{free / GIB:.1f} GiB free at {there}, the cache may take "
    finding += f"{settings.cache_bytes / GIB:.1f} GiB"
    if not os.access(there, os.W_OK):
        fix = "Give this user the folder, or set GRADPROOF_HOME to one of its own."
        return [Result("disk", State.FAIL, f"{there} cannot be written to", fix)]
    if free < LEAST_FREE:
        fix = "Make room, or set GRADPROOF_HOME and GRADPROOF_CACHE to a larger disk."
        return [Result("disk", State.WARN, finding, fix)]
    if free < settings.cache_bytes:
        return [Result("disk", State.WARN, finding, "Make room, or lower GRADPROOF_CACHE_BYTES.")]
    return [Result("disk", State.OK, finding)]


def _keystores(settings: Settings) -> list[Result]:
    """Keystores are encrypted; others have no business reading them all the same."""
    exposed = [
        path
        for path in (settings.home / "wallets").glob("*.json")
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    if exposed:
        names = " ".join(str(path) for path in exposed)
        finding = "other users of this machine may read keystores"
        return [Result("keystores", State.WARN, finding, f"chmod 600 {names}")]
    return [Result("keystores", State.OK, "readable by this user alone")]


def _metrics(settings: Settings) -> list[Result]:
    if not settings.metrics:
        finding = "not served; GRADPROOF_METRICS=127.0.0.1:9464 would"
        return [Result("metrics", State.NOTE, finding)]
    address, port = split_address(settings.metrics)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                finding = f"{settings.metrics} is in use; by the role itself, if it runs"
                return [Result("metrics", State.NOTE, finding)]
            fix = "Set GRADPROOF_METRICS to an address of this machine."
            return [Result("metrics", State.FAIL, f"{settings.metrics}: {error}", fix)]
    return [Result("metrics", State.OK, f"{settings.metrics} is free")]


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())
