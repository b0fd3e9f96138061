"""One variant of a training step in a process of its own, driven line by line.

Started by exact_vs_torch.py with a JSON description on the command line. It answers each line of
its input with one line of JSON: `warm` runs a step, `step` tells the seconds of a step that follows
another one, `root` the root of all parameters, `memory` the peak above what the process used before
it had a model, resident or on a GPU allocated there, `profile` runs a step and tells the seconds of
each ATen call.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from step_models import build
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from protocol.exact import AdamW, clip_by_norm_, exact, result_root
from protocol.exact.allowlist import TABLE

LEARNING_RATE, MAX_NORM = 3e-4, 1.0
SLOW = 2.0  # seconds: what other processes left in the caches no longer shows


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Step:
    """A model, its optimiser, and one step of the described kind."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.kind: str = description["kind"]
        self.route: str | None = description["route"]
        self.device = torch.device(description["device"])
        self.work = build(description["workload"], description["attention"], self.device)
        parameters = self.work.model.parameters()
        if self.kind == "exact":
            self.optimiser: torch.optim.Optimizer = AdamW(parameters, lr=LEARNING_RATE)
        else:
            self.optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True)

    def run(self) -> None:
        """Forward, backward, clipping, AdamW."""
        self.optimiser.zero_grad()
        if self.kind == "exact":
            with exact(route=self.route):
                self.work.loss().backward()
                gradients = [p.grad for p in self.work.model.parameters() if p.grad is not None]
                clip_by_norm_(gradients, MAX_NORM)
                self.optimiser.step()
            return
        with self.autocast():
            loss = self.work.loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self.work.model.parameters(), MAX_NORM)
        self.optimiser.step()

    def autocast(self) -> AbstractContextManager[Any]:
        if self.kind == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def root(self) -> str:
        parameters = self.work.model.named_parameters()
        return result_root({n: p.detach().cpu() for n, p in parameters}).hex()


class Clock(TorchDispatchMode):
    """A clock around each ATen call of a stock step."""

    def __init__(self, spent: dict[str, float]) -> None:
        super().__init__()
        self.spent = spent

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self.spent[str(func)] += time.perf_counter() - start
        return result


def profile(step: Step) -> dict[str, float]:
    """Seconds by ATen call, and of the whole step."""
    spent: dict[str, float] = defaultdict(float)

    def clocked(name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return handler(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - start

        return run

    originals = dict(TABLE)
    TABLE.update({func: clocked(str(func), handler) for func, handler in originals.items()})
    start = time.perf_counter()
    try:
        with Clock(spent) if step.kind != "exact" else nullcontext():
            step.run()
            step.wait()
    finally:
        TABLE.update(originals)
    return dict(spent) | {"whole step": time.perf_counter() - start}


def main() -> None:
    description = json.loads(sys.argv[1])
    torch.set_num_threads(description["threads"])
    torch.set_float32_matmul_precision(description["precision"])
    if description["workload"] != "mlp":
        import transformers  # not part of a step's memory

        assert transformers
    device = torch.device(description["device"])
    before = peak_bytes(device)
    step = Step(description)
    seconds = 0.0
    for line in sys.stdin:
        match line.strip():
            case "warm":
                step.run()
                answer: Any = None
            case "step":
                if seconds < SLOW:
                    step.run()  # as in a loop: right after a step of its own
                step.wait()
                start = time.perf_counter()
                step.run()
                step.wait()
                answer = time.perf_counter() - start
                seconds = answer
            case "root":
                answer = step.root()
            case "memory":
                answer = peak_bytes(device) - before
            case "profile":
                answer = profile(step)
            case other:
                raise SystemExit(f"{other!r} is not a request; see the module's text")
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
