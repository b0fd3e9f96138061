"""Prints a table: one training step of every model family on a device, by every route.

    python -m tests.support.cuda_table            # the GPU of this machine
    python -m tests.support.cuda_table --device cpu

Each root is compared with the one recorded for processors; the exit status is 1 if any differs or a
route is switched off.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch

from protocol.exact.profile import Profile
from protocol.exact.route_choice import choose_route, routes_of
from tests.exact.test_families import ROOTS
from tests.support.exact_families import FAMILIES, root


def machine(device: torch.device) -> str:
    """What computes, in one line."""
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    software = f"torch {torch.__version__}, Triton {triton}"
    if device.type == "cpu":
        return f"{torch.get_num_threads()} threads, {software}"
    properties = torch.cuda.get_device_properties(device)
    capability = f"{properties.major}.{properties.minor}"
    return f"{properties.name}, capability {capability}, CUDA {torch.version.cuda}, {software}"


def cell(family: str, route: str, device: torch.device) -> tuple[str, bool]:
    """Seconds of a step whose root is right, else what is wrong."""
    if choose_route(route, Profile(), device).name != route:
        return "off", False
    if root(family, route, device=str(device)) != ROOTS[family]:
        return "DIFFERS", False
    begun = time.perf_counter()  # the first step compiled kernels and loaded libraries
    root(family, route, device=str(device))
    return f"{time.perf_counter() - begun:.2f} s", True


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 when every cell is right."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.cuda_table")
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--families", nargs="+", choices=tuple(FAMILIES), default=tuple(FAMILIES))
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("no CUDA device: torch.cuda.is_available() is false\n")
        return 2
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu")
    names = [route.name for route in routes_of(device)]
    row = "{:<24}" + "{:>16}" * len(names) + "\n"
    sys.stdout.write(machine(device) + "\n" + row.format("one step, right root", *names))
    right = True
    for family in options.families:
        cells = [cell(family, name, device) for name in names]
        sys.stdout.write(row.format(family, *(text for text, _ in cells)))
        sys.stdout.flush()
        right = right and all(good for _, good in cells)
    sys.stdout.write(
        "All roots are the recorded ones.\n" if right else "NOT ALL ROOTS ARE RIGHT.\n"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
