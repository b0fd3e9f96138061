"""Which GEMM routes this machine can use, and which one serves.

A route serves only after its known-answer test passed on the device at hand with this number of
threads. One that fails is switched off with a warning and the binary64 route serves; that one
failing too means the machine cannot compute the profile at all.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Final

import torch
from torch.utils._python_dispatch import _disable_current_modes

from protocol.exact import known_answers
from protocol.exact.contraction import Float64Route, Int8Route, Route
from protocol.exact.errors import KernelsUnavailable, RouteUnavailable, SelfTestFailed
from protocol.exact.kernels.gemm_route import KernelRoute
from protocol.exact.kernels.library import Level, kernel_setting
from protocol.exact.profile import Profile

_log = logging.getLogger(__name__)

ROUTES: Final[tuple[Route, ...]] = (
    KernelRoute(Level.VNNI),
    KernelRoute(Level.AVX2),
    Int8Route(),
    KernelRoute(Level.SCALAR),
    Float64Route(),
)
"""Every route, fastest first; binary64 is last and always the fallback."""

ENVIRONMENT_VARIABLE: Final = "GRADPROOF_EXACT_ROUTE"

_CPU: Final = torch.device("cpu")


def requested_route(name: str | None) -> str | None:
    """`name`, else the environment's choice, else None for the fastest.

    Raises RouteUnavailable for a name that no route has.
    """
    name = name or _route_from_environment()
    known = sorted(route.name for route in ROUTES)
    if name is not None and name not in known:
        raise RouteUnavailable(f"route {name!r} is unknown; choose one of {known}")
    return name


def choose_route(name: str | None, profile: Profile, device: torch.device = _CPU) -> Route:
    """The route that serves `profile` on `device`: `name` if it passes its test, else float64.

    None takes the environment's choice or the fastest route that passes. Raises RouteUnavailable
    for an unknown name, SelfTestFailed when the machine cannot compute the profile.
    """
    threads = torch.get_num_threads()
    return _chosen(requested_route(name), profile, device, threads, kernel_setting())


def routes(profile: Profile | None = None, device: torch.device = _CPU) -> dict[str, bool]:
    """Route name -> whether its known-answer test passes on this machine."""
    resolved, threads = profile or Profile(), torch.get_num_threads()
    kernels = kernel_setting()
    return {r.name: _passes(r.name, resolved, device, threads, kernels) for r in ROUTES}


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


@lru_cache(maxsize=64)
def _chosen(
    name: str | None, profile: Profile, device: torch.device, threads: int, kernels: str
) -> Route:
    with _disable_current_modes():
        known_answers.check_primitives(device)
    candidates = [r for r in ROUTES if name in (None, r.name)]
    for route in [*candidates, ROUTES[-1]]:
        if _passes(route.name, profile, device, threads, kernels):
            return route
    raise SelfTestFailed(
        "no GEMM route of this machine gives the known answers; do not compute tasks on it"
    )


@lru_cache(maxsize=64)
def _passes(name: str, profile: Profile, device: torch.device, threads: int, kernels: str) -> bool:
    del kernels  # part of the key: another setting asks again
    route = next(r for r in ROUTES if r.name == name)
    try:
        with _disable_current_modes():
            known_answers.check_gemm(route, profile, device)
    except KernelsUnavailable as unavailable:
        _log.debug("GEMM route %s on %s: %s", name, device, unavailable)
        return False
    except (SelfTestFailed, RuntimeError) as failure:
        _log.warning(
            "GEMM route %s is switched off on %s (%d threads): %s",
            name,
            device,
            threads,
            failure,
        )
        return False
    return True
