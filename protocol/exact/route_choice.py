"""Which GEMM routes this machine can use, and which one serves.

A route serves only after its known-answer test passed on the device at hand with this number of
threads and these library settings. One that fails is switched off with a warning and the next one
serves, or binary64 where the failing one was asked for by name. None passing means that the machine
cannot compute the profile at all.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Final

import torch
from torch.utils._python_dispatch import _disable_current_modes

from protocol.exact import known_answers
from protocol.exact.contraction import Float64Route, Route
from protocol.exact.cuda.triton_route import TritonRoute
from protocol.exact.cuda.wide_products import check_wide_products
from protocol.exact.digit_routes import Bf16DigitsRoute, Int8Route
from protocol.exact.errors import RouteUnavailable, SelfTestFailed
from protocol.exact.host_int8 import HostInt8Route
from protocol.exact.kernels.gemm_route import KernelRoute
from protocol.exact.kernels.library import Level, kernel_setting
from protocol.exact.profile import Profile

_log = logging.getLogger(__name__)

_PYTORCH: Final[tuple[Route, ...]] = (HostInt8Route(), Float64Route())

ROUTES: Final[tuple[Route, ...]] = (
    KernelRoute(Level.AMX),
    KernelRoute(Level.VNNI),
    KernelRoute(Level.AVX2),
    # Without VNNI three int8 products take longer than one in binary64.
    *(_PYTORCH if torch.cpu._is_vnni_supported() else reversed(_PYTORCH)),
    KernelRoute(Level.SCALAR),
)
"""The routes of processors, in order of preference (benchmarks/exact_vs_torch.py)."""

CUDA_ROUTES: Final[tuple[Route, ...]] = (
    TritonRoute(),
    Int8Route(),
    Bf16DigitsRoute(),
    Float64Route(),
)
"""The routes of CUDA devices, fastest first."""

_FALLBACK: Final = Float64Route()

ENVIRONMENT_VARIABLE: Final = "GRADPROOF_EXACT_ROUTE"

Settings = tuple[object, ...]

_CPU: Final = torch.device("cpu")


def routes_of(device: torch.device) -> tuple[Route, ...]:
    """The routes of a device's kind, in order of preference."""
    return CUDA_ROUTES if device.type == "cuda" else ROUTES


_NAMES: Final = frozenset(route.name for route in (*ROUTES, *CUDA_ROUTES))


def requested_route(name: str | None) -> str | None:
    """`name`, else the environment's choice, else None for the fastest.

    Raises RouteUnavailable for a name that no route has.
    """
    name = name or _route_from_environment()
    if name is not None and name not in _NAMES:
        raise RouteUnavailable(f"route {name!r} is unknown; choose one of {sorted(_NAMES)}")
    return name


def choose_route(name: str | None, profile: Profile, device: torch.device = _CPU) -> Route:
    """The route that serves `profile` on `device`: `name` if it passes its test, else float64.

    None takes the environment's choice or the fastest route that passes. Raises RouteUnavailable
    for an unknown name, SelfTestFailed when the machine cannot compute the profile.
    """
    return _chosen(requested_route(name), profile, device, _settings(device))


def routes(profile: Profile | None = None, device: torch.device = _CPU) -> dict[str, bool]:
    """Name of each route of `device` -> whether its known-answer test passes on this machine."""
    resolved, settings = profile or Profile(), _settings(device)
    return {r.name: _passes(r.name, resolved, device, settings) for r in routes_of(device)}


def selftest(profile: Profile | None = None, device: torch.device = _CPU) -> dict[str, bool]:
    """Run every known-answer test of this machine now; the GEMM routes that may serve.

    Raises FlushToZero or SelfTestFailed when the machine cannot compute the profile at all.
    """
    _passes.cache_clear()
    _chosen.cache_clear()
    choose_route("float64", profile or Profile(), device)
    return routes(profile, device)


@lru_cache(maxsize=1)
def _route_from_environment() -> str | None:
    return os.environ.get(ENVIRONMENT_VARIABLE) or None


def _route_named(name: str, device: torch.device) -> Route:
    """The device's own route of this name, else another device's, which may say it cannot run."""
    everywhere = (*routes_of(device), *ROUTES, *CUDA_ROUTES)
    return next(route for route in everywhere if route.name == name)


def _settings(device: torch.device) -> Settings:
    """What a user may change while the process runs, so that the routes are tested again."""
    if device.type != "cuda":
        return torch.get_num_threads(), kernel_setting()
    matmul = torch.backends.cuda.matmul
    return (
        matmul.fp32_precision,
        matmul.allow_bf16_reduced_precision_reduction,
        str(torch.backends.cuda.preferred_blas_library()),
    )


@lru_cache(maxsize=64)
def _chosen(name: str | None, profile: Profile, device: torch.device, settings: Settings) -> Route:
    with _disable_current_modes():
        known_answers.check_primitives(device)
    own = routes_of(device)
    candidates = own if name is None else (_route_named(name, device), _FALLBACK)
    for route in candidates:
        if _passes(route.name, profile, device, settings):
            return route
    raise SelfTestFailed(
        "no GEMM route of this machine gives the known answers; do not compute tasks on it"
    )


@lru_cache(maxsize=64)
def _passes(name: str, profile: Profile, device: torch.device, settings: Settings) -> bool:
    route = _route_named(name, device)
    try:
        with _disable_current_modes():
            known_answers.check_gemm(route, profile, device)
            if device.type == "cuda":
                check_wide_products(route, profile, device)
    except RouteUnavailable as unavailable:
        _log.debug("GEMM route %s on %s: %s", name, device, unavailable)
        return False
    except Exception as failure:  # noqa: BLE001 - whatever stops a route, the next one serves
        _log.warning("GEMM route %s is switched off on %s %s: %s", name, device, settings, failure)
        return False
    return True
