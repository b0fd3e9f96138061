"""Whole training steps, in as many differently configured processes as asked.

Run as a script: reads a JSON list of configurations from stdin, prints one JSON answer per line in
the same order. A configuration holds `route`, `threads`, `environment` and `families`, names of
`exact_families` or LARGER, the GPT-2 of this file (which alone runs where none are named). The
script imports everything once and forks a fresh child per configuration before any kernel has run,
so each child initialises ATen, MKL and oneDNN by its own environment; children run side by side.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from protocol.exact import AdamWRow, Profile, adamw, clip_by_norm, exact, result_root
from protocol.exact.route_choice import choose_route
from tests.support.exact_families import root

LARGER: Final = "gpt2, larger"
"""Large enough for the routes to leave the paths of small products."""

ROW = AdamWRow(
    decay=0.9999,
    beta1=0.9,
    beta1_complement=0.1,
    beta2=0.999,
    beta2_complement=0.001,
    step_size=0.01,
    unbias=31.622776,
    eps=1e-8,
)


def model() -> GPT2LMHeadModel:
    """A GPT-2 whose parameters come from integers, so that no generator takes part."""
    config = GPT2Config(
        vocab_size=96,
        n_positions=48,
        n_embd=64,
        n_layer=2,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        loss_type="ForCausalLM",
    )
    built = GPT2LMHeadModel._from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for seed, (_, parameter) in enumerate(sorted(built.named_parameters())):
            index = torch.arange(parameter.numel(), dtype=torch.int64) + 1000003 * seed
            noise = (index * 2654435761 >> 7) % 4096 - 2048
            parameter.copy_((noise.to(torch.float32) / 16384).reshape(parameter.shape))
            if parameter.ndim == 1:
                parameter.add_(0.5)
    return built.train()


def batch() -> Tensor:
    return (torch.arange(6 * 48, dtype=torch.int64) * 7919 % 96).reshape(6, 48)


def exact_step(route: str | None) -> dict[str, Tensor]:
    """Forward, backward, clip, AdamW under the engine: every output, by name."""
    gpt2 = model()
    names = sorted(name for name, _ in gpt2.named_parameters())
    parameters = dict(gpt2.named_parameters())
    with exact(route=route):
        loss = gpt2(input_ids=batch(), labels=batch()).loss
        loss.backward()
        with torch.no_grad():
            gradients = [parameters[n].grad for n in names]
            clipped, norm = clip_by_norm(gradients, 1.0)
            out = {"loss": loss.detach(), "norm": norm}
            for n, g in zip(names, clipped, strict=True):
                zero = torch.zeros_like(g)
                p, m, v = adamw(parameters[n].detach(), g, zero, zero, ROW)
                out |= {f"{n}.grad": g, f"{n}.p": p, f"{n}.m": m, f"{n}.v": v}
    return out


def stock_step() -> dict[str, Tensor]:
    """The same step by stock PyTorch."""
    gpt2 = model()
    optimiser = torch.optim.AdamW(gpt2.parameters(), lr=0.01)
    loss = gpt2(input_ids=batch(), labels=batch()).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(gpt2.parameters(), 1.0)
    optimiser.step()
    out = {f"{n}.p": p.detach() for n, p in gpt2.named_parameters()}
    return out | {f"{n}.grad": p.grad for n, p in gpt2.named_parameters()}


def run(configuration: dict[str, Any]) -> dict[str, Any]:
    """Run one configuration in this process: the root of each family, and what served them."""
    torch.set_num_threads(configuration["threads"])
    route = configuration["route"]
    families = configuration.get("families", [LARGER])
    roots = {name: _root(name, route) for name in families}
    return {
        "roots": roots,
        "served": route if route == "stock" else choose_route(route, Profile()).name,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _root(name: str, route: str) -> str:
    if route == "stock":
        return result_root(stock_step()).hex()
    return result_root(exact_step(route)).hex() if name == LARGER else root(name, route)


def _fork(configuration: dict[str, Any]) -> tuple[int, int]:
    """A child that runs `configuration`: its id, and the read end of the pipe it answers by."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ.update(configuration["environment"])
        try:
            answer = run(configuration)
        except BaseException as error:  # noqa: BLE001 - the child reports whatever stopped it
            answer = {"error": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    return child, reader


def _answers(configurations: list[dict[str, Any]]) -> Iterator[str]:
    """The children's answers in order; as many run at a time as there are processors."""
    waiting = list(configurations)
    running: list[tuple[int, int]] = []
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            running.append(_fork(waiting.pop(0)))
        child, reader = running.pop(0)
        with os.fdopen(reader) as answer:
            yield answer.read()
        os.waitpid(child, 0)


def main() -> None:
    for answer in _answers(json.load(sys.stdin)):
        sys.stdout.write(answer + "\n")


if __name__ == "__main__":
    main()
