"""Runs the vectors every way this machine has: each GEMM route, each setting of the row kernels.

A route is asked directly, without its self-test, so that nothing serves in its place; with the row
kernels all cases run as a training step would call them. INVARIANT:
the process's kernel setting and number of threads are as before when a run ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from protocol.exact import contraction
from protocol.exact.conformance.operations import OPERATIONS
from protocol.exact.conformance.vectors import NONFINITE, Case
from protocol.exact.contraction import Route
from protocol.exact.dispatch import exact
from protocol.exact.errors import ExactError, KernelsUnavailable, NonFinite, RouteUnavailable
from protocol.exact.kernels import fused
from protocol.exact.kernels.library import SWITCH, Level, library
from protocol.exact.profile import Profile
from protocol.exact.route_choice import routes_of

GEMM: Final = "gemm"

Compute = Callable[[Case], str | Sequence[Tensor]]


@dataclass(slots=True)
class Outcome:
    """What one way made of its cases; `differing` names cases and how they differ."""

    way: str
    threads: int
    equal: int = 0
    left_out: int = 0
    seconds: float = 0.0
    note: str = ""
    differing: list[str] = field(default_factory=list)


@contextmanager
def kernel_level(setting: str) -> Iterator[None]:
    """The row kernels' setting inside the block, as the environment would say it."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = setting
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch's number of threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(
    cases: Sequence[Case],
    device: torch.device,
    counts: Sequence[int],
    done: Callable[[Outcome], None],
) -> list[Outcome]:
    """Every way with each of `counts` threads; `done` hears of each as it ends."""
    products = [case for case in cases if case.operation == GEMM]
    outcomes = []
    for count in counts:
        with threads(count):
            for route in routes_of(device):
                with kernel_level("on"):
                    outcome = _run_way(f"route {route.name}", products, _by_route(route, device))
                outcomes.append(outcome)
                done(outcome)
            for setting in row_settings(device):
                with kernel_level(setting):
                    outcome = _run_rows(setting, cases, device)
                outcomes.append(outcome)
                done(outcome)
    return outcomes


def row_settings(device: torch.device) -> list[str]:
    """`off`, and each instruction level of the row kernels that this machine has."""
    if device.type != "cpu":
        return ["off"]
    try:
        best = library().level
    except KernelsUnavailable:
        return ["off"]
    return ["off", *(level.name.lower() for level in Level if level <= best)]


def _profile(case: Case) -> Profile:
    if case.operation != GEMM:
        return Profile()
    return Profile(b=case.attributes["b"], kb=case.attributes["kb"])


def _by_route(route: Route, device: torch.device) -> Compute:
    def compute(case: Case) -> list[Tensor]:
        a, b = case.inputs(device)
        return [contraction.gemm(route, a, b, _profile(case))]

    return compute


def _run_rows(setting: str, cases: Sequence[Case], device: torch.device) -> Outcome:
    def compute(case: Case) -> list[Tensor]:
        inputs = case.inputs(device)
        with exact(_profile(case)):
            return OPERATIONS[case.operation](inputs, case.attributes)

    outcome = _run_way(f"row kernels {setting}", cases, compute)
    if setting != "off":
        silent = sorted(name for name in fused.KERNELS if not fused.serves(name))
        outcome.note = f"{len(fused.KERNELS) - len(silent)} kernels"
        outcome.differing += [f"kernel {name}: its self-test switched it off" for name in silent]
    return outcome


def _run_way(way: str, cases: Sequence[Case], compute: Compute) -> Outcome:
    outcome, begun = Outcome(way, torch.get_num_threads()), time.monotonic()
    for case in cases:
        try:
            got: str | Sequence[Tensor] = compute(case)
        except NonFinite:
            got = NONFINITE
        except RouteUnavailable as unavailable:
            outcome.left_out += 1
            outcome.note = outcome.note or _why(unavailable)
            continue
        except ExactError as error:
            outcome.differing.append(f"{case.name}: {error}")
            continue
        difference = case.difference(got)
        if difference is None:
            outcome.equal += 1
        else:
            outcome.differing.append(f"{case.name}: {difference}")
    outcome.seconds = time.monotonic() - begun
    return outcome


def _why(unavailable: RouteUnavailable) -> str:
    reason = unavailable.reason if isinstance(unavailable, KernelsUnavailable) else str(unavailable)
    return reason.splitlines()[0][:72]
