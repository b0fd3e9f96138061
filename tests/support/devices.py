"""Where device tests run: on the CPU here, and by the same functions on a GPU under `-m gpu`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from itertools import product
from typing import Any

import pytest
import torch

from protocol.exact.contraction import Route
from protocol.exact.profile import Profile
from protocol.exact.route_choice import choose_route

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton interprets its kernels, on tensors of the CPU too."""

CPU_ROUTES = ("float64", "int8", "bf16-digits", *(("triton",) if INTERPRETED else ()))
CUDA_ROUTES = ("triton", "int8", "bf16-digits", "float64")

DEVICES: tuple[Any, ...] = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))
"""Parameters of tests that take a device's name."""

WAYS: tuple[Any, ...] = (
    *product(("cpu",), CPU_ROUTES),
    *(pytest.param("cuda", route, marks=pytest.mark.gpu) for route in CUDA_ROUTES),
)
"""Parameters of tests that take a device's name and one of its routes."""


def device_named(name: str) -> torch.device:
    """The device with its index; skips the test where there is none."""
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device: torch.cuda.is_available() is false")
    return torch.device("cuda", torch.cuda.current_device())


def route_of(device: torch.device, name: str, profile: Profile | None = None) -> Route:
    """The route `name`, which must have passed its test on `device`; no other serves for it."""
    if name == "triton" and find_spec("triton") is None:
        pytest.skip("needs Triton, which is not installed")
    route = choose_route(name, profile or Profile(), device)
    assert route.name == name, f"{name} is switched off on {device}; see the warning in the log"
    return route
