"""Whether this machine can compute the numeric profile, by which routes, and how fast.

`ENGINE` is the group for the report, in the order in which things depend on each other: what is
there, then what must be right, then what is fast.
"""

import os
from collections.abc import Iterator
from typing import Final

import torch

from coordinator.checks import Check, Result, State
from protocol.exact import machine
from protocol.exact.errors import FlushToZero, KernelsUnavailable, RouteUnavailable, SelfTestFailed
from protocol.exact.kernels import build, library
from protocol.exact.known_answers import check_primitives, require_subnormals
from protocol.exact.profile import Profile
from protocol.exact.route_choice import ENVIRONMENT_VARIABLE, requested_route

SLOW: Final = 2.0  # an exact step that takes longer than this many stock ones earns a warning
_BUSY: Final = 1.5  # processes per core


def hardware() -> Iterator[Result]:
    """Processor, torch, CUDA devices."""
    found = machine.hardware()
    threads = f"{found.threads} thread" + ("s" if found.threads > 1 else "")
    yield Result("processor", State.OK, f"{found.processor}, {found.instructions}, {threads}")
    yield Result("torch", State.OK, found.torch)
    if not found.cuda:
        yield Result("cuda", State.NOTE, "no device; the processor computes everything")
    for number, name in enumerate(found.cuda):
        yield Result("cuda", State.OK, f"device {number}: {name}")


def compiler() -> Iterator[Result]:
    """Without a C++ compiler PyTorch computes the same bits, more slowly."""
    try:
        yield Result("compiler", State.OK, build.find_compiler())
    except KernelsUnavailable as unavailable:
        yield Result(
            "compiler",
            State.WARN,
            unavailable.reason,
            "Install g++ (Debian: apt-get install g++), or set CXX to a C++ compiler.",
        )


def kernels() -> Iterator[Result]:
    """Native kernels: allowed, built, and equal to what they replace."""
    try:
        library.allowed_level()
    except KernelsUnavailable as unavailable:
        fix = f"Unset {library.SWITCH}."
        yield Result("kernels", State.WARN, unavailable.reason, fix)
        return
    try:
        loaded = library.library()
        passing = machine.row_kernels()
    except KernelsUnavailable as unavailable:
        fix = (
            f"Mend that; {build.CACHE_VARIABLE} may name a folder that only you can write to "
            "(chmod 700). Until then PyTorch computes the same bits, more slowly."
        )
        yield Result("kernels", State.WARN, unavailable.reason, fix)
        return
    bad = [name for name, right in passing.items() if not right]
    level = min(loaded.level, library.allowed_level()).name.lower()
    where = f"built for up to {level} in {build.default_cache()}"
    if bad:
        fix = "Report it with this output; PyTorch computes in their place."
        yield Result("kernels", State.WARN, f"{where}; wrong bits: {', '.join(bad)}", fix)
    else:
        yield Result(
            "kernels", State.OK, f"{where}; {len(passing)} row kernels give the right bits"
        )


def subnormals() -> Iterator[Result]:
    """No computing thread may flush subnormal numbers to zero."""
    threads = torch.get_num_threads()
    try:
        require_subnormals()
    except FlushToZero as error:
        fix = (
            "Find the library that sets FTZ/DAZ (usually one built with -ffast-math, loaded by a "
            "plug-in or LD_PRELOAD) and keep it out, or call torch.set_flush_denormal(False)."
        )
        yield Result("subnormals", State.FAIL, error.what, fix)
    else:
        yield Result("subnormals", State.OK, f"kept by all {threads} computing threads")


def sums_and_functions() -> Iterator[Result]:
    """Sums and elementary functions against their known answers."""
    try:
        check_primitives()
    except SelfTestFailed as error:
        yield Result("sums, functions", State.FAIL, error.what, _REPLACE_TORCH)
    else:
        yield Result("sums, functions", State.OK, "give their known answers")


def chosen_route() -> Iterator[Result]:
    """The environment may name a route; an unknown name stops every task."""
    try:
        name = requested_route(None)
    except RouteUnavailable as error:
        yield Result("route setting", State.FAIL, error.what, f"Unset {ENVIRONMENT_VARIABLE}.")
        return
    if name:
        serving = machine.serving_route(Profile())
        if serving != name:
            yield Result(
                "route setting",
                State.WARN,
                f"{ENVIRONMENT_VARIABLE}={name} cannot serve here; {serving} does instead",
                f"Unset {ENVIRONMENT_VARIABLE}.",
            )


def gemm_routes() -> Iterator[Result]:
    """Every route's known-answer test and speed, then which one serves."""
    for device in _devices():
        on = "" if device.type == "cpu" else f" on {device}"
        for report in machine.route_reports(Profile(), device):
            if not report.failure:
                finding = (
                    f"right, {report.speed:.0f} GFLOP/s, {report.ratio:.2f}x the speed of stock "
                    "fp32"
                )
                yield Result(f"{report.name}{on}", State.OK, finding)
            elif report.available:
                fix = "None needed: it is switched off. Report it with this output."
                yield Result(f"{report.name}{on}", State.WARN, report.failure, fix)
            else:
                yield Result(f"{report.name}{on}", State.NOTE, report.failure)
        for bits in (14, 16):
            try:
                serving = machine.serving_route(Profile(b=bits), device)
            except SelfTestFailed as error:
                yield Result(f"serves{on}, b = {bits}", State.FAIL, error.what, _REPLACE_TORCH)
            else:
                yield Result(f"serves{on}, b = {bits}", State.OK, serving)


def load() -> Iterator[Result]:
    """Whether the times that follow mean much."""
    waiting, cores = os.getloadavg()[0], os.cpu_count() or 1
    if waiting > _BUSY * cores:
        finding = f"{waiting:.1f} processes want {cores} cores: the times below are rough"
        yield Result("load", State.NOTE, finding)


def training_step() -> Iterator[Result]:
    """How long a small training step takes beside the stock one."""
    times = machine.step_times()
    finding = (
        f"exact {times.exact * 1e3:.0f} ms, stock fp32 {times.stock * 1e3:.0f} ms: "
        f"{times.ratio:.2f}x (a small transformer, forward to AdamW, medians in turns)"
    )
    if times.ratio <= SLOW:
        yield Result("training step", State.OK, finding)
    else:
        fix = "Mend what the lines above warn of; if they do not, try again when nothing else runs."
        yield Result("training step", State.WARN, finding, fix)


def _devices() -> list[torch.device]:
    count = torch.cuda.device_count()
    return [machine.CPU, *(torch.device("cuda", i) for i in range(count))]


_REPLACE_TORCH: Final = (
    "Do not compute tasks here. Install another build of torch (pip install --force-reinstall "
    "torch), and if that does not help, suspect the processor or its memory."
)

ENGINE: Final[tuple[Check, ...]] = (
    hardware,
    compiler,
    kernels,
    subnormals,
    sums_and_functions,
    chosen_route,
    load,
    gemm_routes,
    training_step,
)
