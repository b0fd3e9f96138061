"""What this machine brings to the profile: hardware, kernels, routes with their speed, a real step.

Facts only: who reads them decides what is good or bad. Everything is measured here and now, the
variants of one comparison in turns, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from protocol.exact import known_answers
from protocol.exact.contraction import Route
from protocol.exact.dispatch import exact
from protocol.exact.errors import RouteUnavailable, SelfTestFailed
from protocol.exact.kernels import fused
from protocol.exact.kernels.library import best_level
from protocol.exact.optimisers import AdamW
from protocol.exact.profile import Profile
from protocol.exact.route_choice import choose_route, routes_of

CPU: Final = torch.device("cpu")

_ROUNDS, _FEWEST_ROUNDS, _PATIENCE = 7, 3, 4.0  # a slow or busy machine gets fewer; seconds
_PRODUCT: Final = (512, 1024, 512)  # M, K, N: about the size of a small model's layers
_WIDTH, _LAYERS, _VOCABULARY, _BATCH, _TOKENS = 256, 2, 1024, 4, 128


@dataclass(frozen=True, slots=True)
class Hardware:
    """The processor, its vector instructions as torch uses them, threads, CUDA devices."""

    processor: str
    instructions: str
    threads: int
    torch: str
    cuda: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RouteReport:
    """One GEMM route on one device. `speed` is in GFLOP/s, `ratio` stock fp32's time over its own.

    `available` is false where the machine or a setting rules it out; `failure` says why it does not
    serve, and is empty where it passes its known-answer test. Only routes that pass have a speed.
    """

    name: str
    available: bool
    failure: str = ""
    speed: float = 0.0
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Median seconds of one training step, stock fp32 and exact."""

    stock: float
    exact: float

    @property
    def ratio(self) -> float:
        """How many times as long the exact step takes."""
        return self.exact / self.stock


def hardware() -> Hardware:
    """What there is, without a judgement."""
    count = torch.cuda.device_count()
    return Hardware(
        processor=_processor(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        cuda=tuple(torch.cuda.get_device_name(i) for i in range(count)),
    )


def row_kernels() -> dict[str, bool]:
    """Name of each native row kernel -> whether it returns its composition's bits here.

    Raises KernelsUnavailable where none can serve.
    """
    level, threads = best_level(), torch.get_num_threads()
    return {name: fused.passes(name, level, threads) for name in sorted(fused.KERNELS)}


def serving_route(profile: Profile, device: torch.device = CPU) -> str:
    """Name of the route that a task on `device` would take.

    Raises RouteUnavailable for an unknown name in the environment, FlushToZero or SelfTestFailed
    where the machine cannot compute the profile.
    """
    return choose_route(None, profile, device).name


def route_reports(profile: Profile, device: torch.device = CPU) -> list[RouteReport]:
    """Every route of the device: its known-answer test now, then its speed."""
    tested = [(route, *_tested(route, profile, device)) for route in routes_of(device)]
    passing = {route.name: route for route, _, failure in tested if not failure}
    seconds = _product_seconds(passing, profile, device)
    m, k, n = _PRODUCT
    reports = []
    for route, available, failure in tested:
        if failure:
            reports.append(RouteReport(route.name, available, failure))
        else:
            own = seconds[route.name]
            speed = 2e-9 * m * k * n / own
            reports.append(RouteReport(route.name, True, "", speed, seconds[""] / own))
    return reports


def step_times() -> StepTimes:
    """A small transformer's training step, forward to AdamW, on the processor.

    Raises what `exact()` raises on entry.
    """
    model = _model()
    ids = torch.arange(_BATCH * (_TOKENS + 1)).mul(7919).remainder(_VOCABULARY)
    ids = ids.reshape(_BATCH, -1)
    stock = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ours = AdamW(model.parameters(), lr=1e-4)

    def exactly() -> None:
        with exact():
            _step(model, ids, ours)

    medians = _medians({"stock": lambda: _step(model, ids, stock), "exact": exactly})
    return StepTimes(medians["stock"], medians["exact"])


def _tested(route: Route, profile: Profile, device: torch.device) -> tuple[bool, str]:
    """(whether the route can run here at all, why it does not serve)."""
    try:
        with _disable_current_modes():
            known_answers.check_gemm(route, profile, device)
    except RouteUnavailable as unavailable:
        return False, str(unavailable)
    except (SelfTestFailed, RuntimeError) as failure:
        return True, str(failure)
    return True, ""


def _product_seconds(
    routes: Mapping[str, Route], profile: Profile, device: torch.device
) -> dict[str, float]:
    """Median seconds of one product per route; stock fp32's under the empty name."""
    m, k, n = _PRODUCT
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(m, k, generator=generator).to(device)
    b = torch.randn(k, n, generator=generator).to(device)

    def finished(product: Callable[[], Tensor]) -> None:
        product()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    runs = {"": partial(finished, lambda: a @ b)}
    for name, route in routes.items():
        runs[name] = partial(finished, partial(route.gemm, a, b, profile))
    return _medians(runs)


def _medians(runs: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Median seconds of each run; a round takes all of them once, and the first is not counted."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    begun = time.perf_counter()
    for number in range(_ROUNDS):
        if number >= _FEWEST_ROUNDS and time.perf_counter() - begun > _PATIENCE:
            break
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _model() -> nn.Module:
    state = (
        torch.get_rng_state()
    )  # initial weights come from torch's generator, which is the host's
    layers = [
        nn.TransformerEncoderLayer(
            _WIDTH,
            nhead=4,
            dim_feedforward=4 * _WIDTH,
            dropout=0.0,
            activation=partial(functional.gelu, approximate="tanh"),
            batch_first=True,
            norm_first=True,
        )
        for _ in range(_LAYERS)
    ]
    model = nn.Sequential(
        nn.Embedding(_VOCABULARY, _WIDTH), *layers, nn.Linear(_WIDTH, _VOCABULARY)
    )
    torch.set_rng_state(state)
    return model


def _step(model: nn.Module, ids: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    logits = model(ids[:, :-1])
    loss = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    optimiser.step()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
