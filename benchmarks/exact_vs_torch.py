"""How much exactness costs: one training step, stock PyTorch against every exact route.

    python benchmarks/exact_vs_torch.py [--workloads gpt2 llama mlp] [--profile] [--device cuda]

A step is forward, backward, clipping and AdamW, the optimisers' states being warm. Each variant
lives in a process of its own, with the environment that makes it; all take turns, two steps each of
which the second counts, and report medians, so that a busy machine slows all of them alike. Exact
variants must agree on the root of their parameters after the warm-up, or no table is printed.
Memory is the peak above what the process used before it had a model.

The engine lets the allocator keep freed memory; "memory kept" gives stock PyTorch the same.
The variants "AVX2 machine" run both PyTorch and the engine under caps that hide newer instructions,
as a processor without AVX512 would. On a GPU, "TF32" and "bf16 autocast" are what its users know.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from step_models import WORKLOADS

from protocol.exact import KernelsUnavailable
from protocol.exact.kernels import library

HERE = Path(__file__).parent
BASE = "stock fp32 eager"
AVX2_MACHINE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}

# What the engine asks of glibc's allocator (protocol/exact/memory.py), here for stock PyTorch.
MEMORY_KEPT = {
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={1 << 30}:glibc.malloc.trim_threshold={1 << 62}"
}


@dataclass(frozen=True)
class Variant:
    """One way to compute the step, the variant it is measured against, and its environment."""

    name: str
    kind: str
    base: str = BASE
    route: str | None = None
    kernels: str = "off"
    attention: str = "eager"
    precision: str = "highest"
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def level(self) -> library.Level | None:
        """The instruction level its kernels need."""
        return None if self.kernels == "off" else library.Level[self.kernels.upper()]


VARIANTS = (
    Variant(BASE, "fp32"),
    Variant("stock fp32 SDPA", "fp32", attention="sdpa"),
    Variant("stock fp32, memory kept", "fp32", environment=MEMORY_KEPT),
    Variant("stock bf16 autocast", "bf16"),
    Variant("exact: kernels, AMX", "exact", route="kernels-amx", kernels="amx"),
    Variant("exact: kernels, VNNI", "exact", route="kernels-vnni", kernels="vnni"),
    Variant("exact: kernels, AVX2", "exact", route="kernels-avx2", kernels="avx2"),
    Variant("exact: PyTorch, int8", "exact", route="int8"),
    Variant("exact: PyTorch, float64", "exact", route="float64"),
    Variant("AVX2 machine: stock fp32", "fp32", environment=AVX2_MACHINE),
    Variant(
        "AVX2 machine: exact, kernels",
        "exact",
        base="AVX2 machine: stock fp32",
        route="kernels-avx2",
        kernels="avx2",
        environment=AVX2_MACHINE,
    ),
    Variant(
        "AVX2 machine: exact, PyTorch",
        "exact",
        base="AVX2 machine: stock fp32",
        route="float64",
        environment=AVX2_MACHINE,
    ),
)

CUDA_VARIANTS = (
    Variant(BASE, "fp32"),
    Variant("stock fp32 SDPA", "fp32", attention="sdpa"),
    Variant("stock TF32", "fp32", precision="high"),
    Variant("stock bf16 autocast", "bf16"),
    Variant("exact: Triton", "exact", route="triton"),
    Variant("exact: int8", "exact", route="int8"),
    Variant("exact: bf16 digits", "exact", route="bf16-digits"),
    Variant("exact: float64", "exact", route="float64"),
)


def available(device: str) -> list[Variant]:
    """The variants that this machine can run; says which it leaves out and why."""
    if device != "cpu":
        return list(CUDA_VARIANTS)
    try:
        best = library.library().level
    except KernelsUnavailable as unavailable:
        print(f"no kernels: {unavailable}")
        return [v for v in VARIANTS if v.level is None]
    for v in VARIANTS:
        if v.level is not None and v.level > best:
            print(f"left out: {v.name}; this processor offers {best.name}")
    return [v for v in VARIANTS if v.level is None or v.level <= best]


class Process:
    """A variant's process; see step_process.py for what it answers."""

    def __init__(self, variant: Variant, workload: str, a: argparse.Namespace) -> None:
        description = {
            "kind": variant.kind,
            "route": variant.route,
            "attention": variant.attention,
            "workload": workload,
            "threads": a.threads,
            "device": a.device,
            "precision": variant.precision,
        }
        settings = {library.SWITCH: variant.kernels, "HF_HUB_OFFLINE": "1"}
        self.running = subprocess.Popen(
            [sys.executable, str(HERE / "step_process.py"), json.dumps(description)],
            env=os.environ | settings | variant.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: str) -> Any:
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.write(request + "\n")
        self.running.stdin.flush()
        answer = self.running.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of {self.running.args} ended: run it by hand to see why")
        return json.loads(answer)

    def stop(self) -> None:
        assert self.running.stdin is not None
        self.running.stdin.close()
        self.running.wait()


@dataclass
class Measured:
    """What one variant took."""

    seconds: list[float] = field(default_factory=list)
    bytes: int = 0
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(workload: str, variants: list[Variant], a: argparse.Namespace) -> dict[str, Measured]:
    """Every variant's steps, in turns."""
    processes = {v.name: Process(v, workload, a) for v in variants}
    results = {v.name: Measured() for v in variants}
    try:
        for _ in range(a.warm_up):
            for process in processes.values():
                process.ask("warm")
        roots = {v.name: processes[v.name].ask("root") for v in variants if v.kind == "exact"}
        if len(set(roots.values())) > 1:
            raise SystemExit(f"exact variants disagree: {roots}")
        for _ in range(a.repeats):
            for name, process in processes.items():
                results[name].seconds.append(process.ask("step"))
        for name, process in processes.items():
            results[name].bytes = process.ask("memory")
            results[name].spent = process.ask("profile") if a.profile else {}
    finally:
        for process in processes.values():
            process.stop()
    return results


def print_table(workload: str, variants: list[Variant], results: dict[str, Measured]) -> None:
    """Medians and peaks, each beside the stock variant that it replaces."""
    print(f"\n{workload}")
    print(f"{'variant':30}{'median ms':>11}{'of stock':>10}{'peak MB':>10}{'of stock':>10}")
    for v in variants:
        mine, base = results[v.name], results[v.base]
        print(
            f"{v.name:30}{mine.median * 1e3:11.1f}{mine.median / base.median:9.2f}x"
            f"{mine.bytes / 1e6:10.0f}{mine.bytes / base.bytes:9.2f}x"
        )


def print_profile(variants: list[Variant], results: dict[str, Measured]) -> None:
    """ATen calls of the stock step beside those of the fastest exact one, milliseconds."""
    exact = next(v.name for v in variants if v.kind == "exact")
    stock, ours = results[BASE].spent, results[exact].spent
    print(f"\n{'milliseconds by ATen call':44}{BASE:>20}{exact:>24}")
    for call in sorted(ours | stock, key=lambda c: -max(ours.get(c, 0), stock.get(c, 0)))[:24]:
        print(f"{call:44}{stock.get(call, 0) * 1e3:20.1f}{ours.get(call, 0) * 1e3:24.1f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--workloads", nargs="+", choices=WORKLOADS, default=["gpt2", "llama", "mlp"]
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds")
    parser.add_argument("--warm-up", type=int, default=2, help="rounds before those")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", help="run the variants whose name contains this, and stock fp32")
    parser.add_argument("--profile", action="store_true", help="time per ATen call as well")
    return parser.parse_args()


def main() -> None:
    a = arguments()
    variants = available(a.device)
    if a.only:
        wanted = {v.name for v in variants if a.only in v.name}
        bases = {v.base for v in variants if v.name in wanted}
        variants = [v for v in variants if v.name in wanted | bases | {BASE}]
    where = "" if a.device == "cpu" else f"{torch.cuda.get_device_name(a.device)}, "
    print(f"{where}torch {torch.__version__}, {a.threads} threads, median of {a.repeats} rounds")
    for workload in a.workloads:
        results = measure(workload, variants, a)
        print_table(workload, variants, results)
        if a.profile:
            print_profile(variants, results)


if __name__ == "__main__":
    main()
