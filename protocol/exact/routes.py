"""Which GEMM routes this machine can use, and which one serves.

A route serves only after its known-answer test passed on this device with this number of threads.
One that fails is switched off with a warning and the binary64 route serves; that one failing too
means the machine cannot compute the profile at all.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Final

import torch

from protocol.exact.errors import RouteUnavailable, SelfTestFailed
from protocol.exact.gemm import Float64Route, Int8Route, Route
from protocol.exact.profile import Profile
from protocol.exact.selftest import check_gemm, require_subnormals

_log = logging.getLogger(__name__)

ROUTES: Final[tuple[Route, ...]] = (Int8Route(), Float64Route())
"""Every route, fastest first; binary64 is last and always the fallback."""

ENVIRONMENT_VARIABLE: Final = "GRADPROOF_EXACT_ROUTE"


def choose_route(name: str | None, profile: Profile) -> Route:
    """The route called `name`, else the environment's, else the fastest that passes its test.

    Raises RouteUnavailable for an unknown name; a known route that fails is replaced by float64.
    """
    name = name or _route_from_environment()
    known = {route.name: route for route in ROUTES}
    if name is not None and name not in known:
        raise RouteUnavailable(f"route {name!r} is unknown; choose one of {sorted(known)}")
    candidates = ROUTES if name is None else (known[name], known["float64"])
    for route in candidates:
        if _passes(route.name, profile, torch.get_num_threads()):
            return route
    raise SelfTestFailed(
        "no GEMM route of this machine gives the known answers; do not compute tasks on it"
    )


def routes(profile: Profile | None = None) -> dict[str, bool]:
    """Route name -> whether its known-answer test passes on this machine."""
    resolved = profile or Profile()
    threads = torch.get_num_threads()
    return {route.name: _passes(route.name, resolved, threads) for route in ROUTES}


@lru_cache(maxsize=1)
def _route_from_environment() -> str | None:
    return os.environ.get(ENVIRONMENT_VARIABLE) or None


@lru_cache(maxsize=64)
def _passes(name: str, profile: Profile, threads: int) -> bool:
    route = next(r for r in ROUTES if r.name == name)
    try:
        check_gemm(route, profile)
    except (SelfTestFailed, RuntimeError) as failure:
        _log.warning("GEMM route %s is switched off (%d threads): %s", name, threads, failure)
        return False
    return True


def selftest(profile: Profile | None = None) -> dict[str, bool]:
    """Run every known-answer test of this machine; the GEMM routes that may serve.

    Raises FlushToZero or SelfTestFailed when the machine cannot compute the profile at all.
    """
    require_subnormals()
    usable = routes(profile)
    if not usable["float64"]:
        raise SelfTestFailed("the binary64 GEMM route gives wrong answers on this machine")
    return usable
