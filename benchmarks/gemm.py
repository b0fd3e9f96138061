"""What an exact matrix product costs: each route beside PyTorch's binary32 and bfloat16 products.

    python benchmarks/gemm.py [--routes kernels-vnni kernels-avx2] [--threads 2]

The shapes are those of a GPT-2 of width 768 and a Llama of width 512 on 1024 tokens: forward (NT or
NN), gradient of the input (NN) and of the weights (TN). All columns take turns; medians are shown,
and at the end each column's sum over the shapes as a ratio to binary32's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from protocol.exact import Profile, routes
from protocol.exact.route_choice import ROUTES

SHAPES = (
    ("NN", 1024, 768, 3072),
    ("NN", 1024, 3072, 768),
    ("TN", 768, 1024, 3072),
    ("NT", 1024, 768, 8192),
    ("NN", 1024, 8192, 768),
    ("TN", 8192, 1024, 768),
    ("NT", 1024, 512, 512),
    ("NT", 1024, 512, 1365),
    ("TN", 512, 1024, 1365),
    ("NT", 1024, 1365, 512),
)
"""(which operands lie transposed, M, K, N)."""


def operands(layout: str, m: int, k: int, n: int) -> tuple[Tensor, Tensor]:
    a = torch.randn(k, m).t() if layout[0] == "T" else torch.randn(m, k)
    b = torch.randn(n, k).t() if layout[1] == "T" else torch.randn(k, n)
    return a, b


def columns(a: Tensor, b: Tensor, names: list[str]) -> dict[str, Callable[[], object]]:
    profile = Profile()
    low_a, low_b = a.bfloat16(), b.bfloat16()
    found: dict[str, Callable[[], object]] = {
        "binary32": lambda: a @ b,
        "bfloat16": lambda: low_a @ low_b,
    }
    for route in ROUTES:
        if route.name in names:
            found[route.name] = lambda route=route: route.gemm(a, b, profile)
    return found


def medians(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_row(name: str, cells: list[str]) -> None:
    print(f"{name:26}" + "".join(cells), flush=True)


def main() -> None:
    usable = [name for name, passes in routes().items() if passes]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--routes", nargs="+", choices=usable, default=usable)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    totals: dict[str, float] = {}
    print(f"milliseconds, {arguments.threads} threads, median of {arguments.repeats}")
    for layout, m, k, n in SHAPES:
        found = medians(columns(*operands(layout, m, k, n), arguments.routes), arguments.repeats)
        if not totals:
            print_row("shape", [f"{name:>16}" for name in found])
        print_row(f"{layout} {m} x {k} x {n}", [f"{t * 1e3:16.2f}" for t in found.values()])
        for name, t in found.items():
            totals[name] = totals.get(name, 0.0) + t
    print_row("sum, of binary32", [f"{t / totals['binary32']:15.2f}x" for t in totals.values()])


if __name__ == "__main__":
    main()
