"""How much exactness costs: one training step, stock PyTorch against every exact route.

    python benchmarks/exact_vs_torch.py [--layers 4 --width 768 ...] [--profile]

A step is forward, backward, clipping and AdamW. All variants take turns in one process and each
reports its median, so that a busy machine slows all of them alike. Exact variants must agree on
their result's root; the table is not printed otherwise.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from protocol.exact import (
    AdamWRow,
    KernelsUnavailable,
    UnsupportedOp,
    adamw,
    clip_by_norm,
    exact,
    result_root,
)
from protocol.exact.allowlist import TABLE
from protocol.exact.kernels import library

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROW = AdamWRow(0.9999, 0.9, 0.1, 0.999, 0.001, 0.0003, 31.622776, 1e-8)

EXACT = {
    "exact: kernels, VNNI": ("kernels-vnni", "vnni"),
    "exact: kernels, AVX2": ("kernels-avx2", "avx2"),
    "exact: PyTorch, int8": ("int8", "off"),
    "exact: PyTorch, float64": ("float64", "off"),
}
"""Variant -> (GEMM route, setting of the kernel switch)."""


@dataclass
class Workload:
    """A model and the loss of one batch."""

    model: nn.Module
    loss: Callable[[], Tensor]

    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(sorted(self.model.named_parameters()))


def gpt2(a: argparse.Namespace) -> Workload:
    """GPT-2 with random weights, built from a configuration."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=a.vocabulary,
        n_positions=a.tokens,
        n_embd=a.width,
        n_layer=a.layers,
        n_head=max(1, a.width // 64),
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        loss_type="ForCausalLM",
    )
    model = GPT2LMHeadModel._from_config(config, attn_implementation="eager").train()
    return language_model(model, a)


def llama(a: argparse.Namespace) -> Workload:
    """Llama with random weights, two query heads per key head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = max(2, a.llama_width // 64)
    config = LlamaConfig(
        vocab_size=a.vocabulary,
        hidden_size=a.llama_width,
        intermediate_size=a.llama_width * 8 // 3,
        num_hidden_layers=a.llama_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=a.tokens,
        loss_type="ForCausalLM",
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager").train()
    return language_model(model, a)


def language_model(model: nn.Module, a: argparse.Namespace) -> Workload:
    ids = torch.randint(a.vocabulary, (a.batch, a.tokens))
    return Workload(model, lambda: model(input_ids=ids, labels=ids, use_cache=False).loss)


def mlp(a: argparse.Namespace) -> Workload:
    """Four square layers with ReLU under a cross entropy."""
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Linear(a.mlp_width, a.mlp_width), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    x = torch.randn(a.mlp_batch, a.mlp_width)
    target = torch.randint(a.mlp_width, (a.mlp_batch,))
    return Workload(model, lambda: nn.functional.cross_entropy(model(x), target))


WORKLOADS = {"gpt2": gpt2, "mlp": mlp, "llama": llama}


def stock_step(work: Workload, autocast: bool) -> None:
    """One step as everybody writes it; the fused optimiser is PyTorch's fastest."""
    optimiser = torch.optim.AdamW(work.model.parameters(), lr=0.0003, fused=True)
    work.model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        loss = work.loss()
    loss.backward()
    nn.utils.clip_grad_norm_(work.model.parameters(), 1.0)
    optimiser.step()


def exact_step(work: Workload, route: str) -> dict[str, Tensor]:
    """The same step by the profile; parameters and moments by name."""
    work.model.zero_grad()
    parameters = work.parameters()
    with exact(route=route):
        loss = work.loss()
        loss.backward()
        gradients = [p.grad for p in parameters.values() if p.grad is not None]
        clipped, norm = clip_by_norm(gradients, 1.0)
        out = {"loss": loss.detach(), "norm": norm}
        for (name, p), g in zip(parameters.items(), clipped, strict=True):
            moments = torch.zeros_like(g), torch.zeros_like(g)
            out[name], m, v = adamw(p.detach(), g, *moments, ROW)
            out |= {f"{name}.m": m, f"{name}.v": v}
    return out


@contextmanager
def kernels(setting: str) -> Iterator[None]:
    """The kernel switch set for one block."""
    before = os.environ.get(library.SWITCH)
    os.environ[library.SWITCH] = setting
    try:
        yield
    finally:
        os.environ.pop(library.SWITCH)
        if before is not None:
            os.environ[library.SWITCH] = before


def variants(work: Workload) -> dict[str, Callable[[], dict[str, Tensor] | None]]:
    """Every variant this machine can run."""

    def exactly(route: str, setting: str) -> Callable[[], dict[str, Tensor]]:
        def run() -> dict[str, Tensor]:
            with kernels(setting):
                return exact_step(work, route)

        return run

    found: dict[str, Callable[[], dict[str, Tensor] | None]] = {
        "stock fp32": lambda: stock_step(work, autocast=False),
        "stock bf16 autocast": lambda: stock_step(work, autocast=True),
    }
    for name, (route, setting) in EXACT.items():
        try:
            missing = setting != "off" and library.library().level < library.Level[setting.upper()]
        except KernelsUnavailable as unavailable:
            print(f"  {name}: skipped, {unavailable}")
            continue
        if missing:
            print(f"  {name}: skipped, this processor has no {setting.upper()}")
        else:
            found[name] = exactly(route, setting)
    return found


def measure(work: Workload, repeats: int) -> dict[str, float]:
    """Median seconds of each variant; a round runs all of them once."""
    runs = variants(work)
    # Only stock steps move the weights, and they come first: exact ones start from the same.
    roots = {result_root(out).hex() for run in runs.values() if (out := run()) is not None}
    if len(roots) != 1:
        raise SystemExit(f"exact variants disagree: {sorted(roots)}")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(title: str, medians: dict[str, float]) -> None:
    base = medians["stock fp32"]
    print(f"\n{title}\n{'variant':28}{'median ms':>12}{'of stock fp32':>16}")
    for name, median in medians.items():
        print(f"{name:28}{median * 1e3:12.1f}{median / base:15.2f}x")


def print_profile(work: Workload) -> None:
    """Time per ATen call of the fastest exact variant: a clock around each of its handlers."""
    name, run = next((n, r) for n, r in variants(work).items() if n.startswith("exact"))
    spent: dict[str, list[float]] = {}

    def timed(op: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return handler(*args, **kwargs)
            finally:
                spent.setdefault(op, []).append(time.perf_counter() - start)

        return clocked

    originals = dict(TABLE)
    TABLE.update({func: timed(str(func), handler) for func, handler in originals.items()})
    start = time.perf_counter()
    try:
        run()
    finally:
        TABLE.update(originals)
    whole = time.perf_counter() - start
    print(f"\n{name}: milliseconds per ATen call; the rest is the optimiser and Python")
    for op, times in sorted(spent.items(), key=lambda item: -sum(item[1]))[:20]:
        print(f"{op:44}{len(times):6} calls{sum(times) * 1e3:10.1f}")
    rest = whole - sum(sum(times) for times in spent.values())
    print(f"{'outside handlers':44}{'':12}{rest * 1e3:10.1f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--mlp-width", type=int, default=1024)
    parser.add_argument("--mlp-batch", type=int, default=1024)
    parser.add_argument("--llama-layers", type=int, default=6)
    parser.add_argument("--llama-width", type=int, default=512)
    parser.add_argument("--profile", action="store_true", help="time per ATen call as well")
    return parser.parse_args()


def main() -> None:
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    print(f"torch {torch.__version__}, {a.threads} threads, median of {a.repeats} rounds")
    for name in a.workloads:
        work = WORKLOADS[name](a)
        try:
            medians = measure(work, a.repeats)
        except UnsupportedOp as unsupported:
            print(f"\n{name}: skipped, {unsupported}")
            continue
        print_table(name, medians)
        if a.profile:
            print_profile(work)


if __name__ == "__main__":
    main()
