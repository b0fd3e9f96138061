"""The program `causal-lm-1`: what a task computes, and what an update computes.

Workers and verifiers run `compute_task`; the coordinator, gatherers and panels run
`compute_update`; all on public inputs only. INVARIANTS: every number of an output comes out of
the numeric engine in a fixed order, so equal inputs give equal roots on any machine; a NaN or an
infinity gives the canonical NONFINITE result, never an exception. The steps are described in
`program_text.py`, whose root a manifest names. One computation runs at a time in a process,
because the witness watches modules that all of them share.

A computation runs on one device and gives its tensors back in the host's memory. INVARIANT: the
device decides how fast, never which bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from protocol.exact.dispatch import exact
from protocol.exact.errors import NonFinite
from protocol.exact.profile import Profile
from protocol.exact.roots import require_finite, result_root
from protocol.rules.sealing import NONFINITE_ROOT
from protocol.training.arithmetic import (
    Clip,
    Tensors,
    adamw,
    average,
    moved,
    row_scalars,
    scalar,
)
from protocol.training.bundle import Bundle, write_bundle, write_nonfinite
from protocol.training.errors import ProgramError
from protocol.training.manifest import Manifest
from protocol.training.model import (
    ADAM_M,
    ADAM_V,
    GRAD,
    LOSS,
    PARAM,
    STEP,
    VALIDATION_LOSS,
    check_tensors,
    parameters_of,
    result_schema,
    skeleton,
)
from protocol.training.program_text import program_root
from protocol.training.witness import Witness

Progress = Callable[[int, int], None]

CPU: Final = torch.device("cpu")


class Batches(Protocol):
    """Where tokens come from: int64 [sequences, sequence_length + 1], inputs and targets."""

    def batch(self, round_: int, task: int, micro_batch: int) -> Tensor: ...
    def evaluation_batches(self) -> Sequence[Tensor]: ...


@dataclass(frozen=True, slots=True)
class Result:
    """What a task or an update gave: its tensors, their root, and the secret witness root.

    A NONFINITE result has no tensors and a constant root.
    """

    tensors: Mapping[str, Tensor]
    root: bytes
    witness: bytes

    @property
    def is_nonfinite(self) -> bool:
        """Tell whether this is the canonical NONFINITE result."""
        return self.root == NONFINITE_ROOT


def write_result(result: Result, folder: Path) -> Bundle:
    """Write the canonical files of any result, NONFINITE ones included, into a folder."""
    if result.is_nonfinite:
        return write_nonfinite(folder)
    return write_bundle(result.tensors, folder)


def compute_task(
    manifest: Manifest,
    state: Tensors,
    batches: Batches,
    round_: int,
    task: int,
    progress: Progress | None = None,
    device: torch.device = CPU,
) -> Result:
    """Compute one task: `grad.<name>`, the clipped mean gradient, and `loss`, all float32.

    `progress(done, total)` counts micro-batches. Raises `ModelError` for a state of another job,
    `ProgramError` for an unknown program or a round or task outside the job.
    """
    _check_program(manifest)
    if not (0 <= round_ < manifest.rounds and 0 <= task < manifest.tasks):
        raise ProgramError(
            f"Round {round_}, task {task} is outside the job",
            why=f"It has {manifest.rounds} rounds of {manifest.tasks} tasks.",
            fix="Read the task from the chain again.",
        )
    parameters = moved(parameters_of(manifest, state), device)
    witness = Witness()

    def run() -> dict[str, Tensor]:
        gradients, loss = _mean_gradient(
            manifest, parameters, batches, (round_, task), witness, progress
        )
        for gradient in gradients.values():
            witness.note(gradient)
        clip = Clip(manifest.aggregation.norm_clip, device)
        with torch.no_grad(), exact(_profile(manifest)):
            scale = clip.scale(gradients)
            gradients = {name: gradient * scale for name, gradient in gradients.items()}
        return {f"{GRAD}{name}": tensor for name, tensor in gradients.items()} | {LOSS: loss}

    return _finish(run, witness)


def compute_update(
    manifest: Manifest,
    state: Tensors,
    results: Mapping[int, Tensors],
    batches: Batches,
    progress: Progress | None = None,
    device: torch.device = CPU,
) -> Result:
    """Compute the next state, with its validation loss, from the included results by task.

    `progress(done, total)` counts evaluation batches. Raises `ModelError` for tensors of another
    job, `ProgramError` for an unknown program, no results, or a state that is past the last step.
    """
    _check_program(manifest)
    parameters = parameters_of(manifest, state)
    step = int(state[STEP])
    if not 0 <= step < len(manifest.optimiser):
        raise ProgramError(
            f"The state has done {step} of {len(manifest.optimiser)} steps",
            fix="Fetch the state of the current round.",
        )
    if not results or not all(0 <= task < manifest.tasks for task in results):
        raise ProgramError(
            f"An update needs results of tasks 0 to {manifest.tasks - 1}, not of {sorted(results)}",
            fix="Take the included tasks from the chain again.",
        )
    for task, tensors in results.items():
        check_tensors(tensors, result_schema(manifest), f"result of task {task}")
    witness = Witness()

    def run() -> dict[str, Tensor]:
        gradients = _aggregate(manifest, results, device)
        for gradient in gradients.values():
            witness.note(gradient)
        witness.settle()
        new = _step(manifest, state, gradients, step)
        parameters.update({name: new[f"{PARAM}{name}"] for name in parameters})
        loss = evaluate(manifest, parameters, batches, witness, progress)
        return new | {STEP: torch.tensor(step + 1), VALIDATION_LOSS: loss}

    return _finish(run, witness)


def evaluate(
    manifest: Manifest,
    parameters: Tensors,
    batches: Batches,
    witness: Witness | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Return the mean loss over the evaluation set, float32 without dimensions.

    It computes on the device that the parameters are on.
    Raises `protocol.exact.NonFinite` where the numeric profile does.
    """
    witness = witness or Witness()
    every = batches.evaluation_batches()
    losses = []
    for done, tokens in enumerate(every, start=1):
        with torch.no_grad():
            losses.append(_loss(manifest, parameters, tokens, witness))
        _report(progress, done, len(every))
    count = scalar(float(len(losses)), _device_of(parameters))
    with torch.no_grad(), exact(_profile(manifest)):
        return average(losses, count)


def _mean_gradient(
    manifest: Manifest,
    parameters: Tensors,
    batches: Batches,
    place: tuple[int, int],
    witness: Witness,
    progress: Progress | None,
) -> tuple[dict[str, Tensor], Tensor]:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
    total: list[Tensor] = []
    micro_batches = manifest.batch.micro_batches
    for micro_batch in range(micro_batches):
        loss = _loss(manifest, leaves, batches.batch(*place, micro_batch), witness)
        with exact(_profile(manifest)):
            parts = [*torch.autograd.grad(loss, list(leaves.values())), loss.detach()]
            # A fixed order of plain additions: memory stays that of one gradient.
            total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
        _report(progress, micro_batch + 1, micro_batches)
    if micro_batches > 1:
        count = scalar(float(micro_batches), _device_of(parameters))
        with torch.no_grad(), exact(_profile(manifest)):
            total = [part / count for part in total]
    return dict(zip(leaves, total[:-1], strict=True)), total[-1]


def _loss(manifest: Manifest, parameters: Tensors, tokens: Tensor, witness: Witness) -> Tensor:
    model, device = skeleton(manifest), _device_of(parameters)
    tokens = tokens.to(device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].reshape(-1)
    constants = moved(model.constants(inputs.shape[1]), device)
    try:
        with witness.watch(model.layers), exact(_profile(manifest)):
            logits = model.forward(parameters, inputs, constants)
            witness.note(logits)
            return cross_entropy(logits.reshape(targets.shape[0], -1), targets)
    finally:
        witness.settle()


def _aggregate(
    manifest: Manifest, results: Mapping[int, Tensors], device: torch.device
) -> dict[str, Tensor]:
    """Clip again, then average: a result that nobody checked may have any norm."""
    clip = Clip(manifest.aggregation.norm_clip, device)
    count = scalar(float(len(results)), device)
    names = sorted(name for name in result_schema(manifest) if name != LOSS)
    ordered = [results[task] for task in sorted(results)]
    with torch.no_grad(), exact(_profile(manifest)):
        # A device holds one result at a time, then one gradient of each: both are few.
        scales = [
            clip.scale(moved({name: tensors[name] for name in names}, device))
            for tensors in ordered
        ]
        return {
            name.removeprefix(GRAD): average(
                [
                    tensors[name].to(device) * scale
                    for tensors, scale in zip(ordered, scales, strict=True)
                ],
                count,
            )
            for name in names
        }


def _step(manifest: Manifest, state: Tensors, gradients: Tensors, step: int) -> dict[str, Tensor]:
    device = _device_of(gradients)
    row = row_scalars(manifest.optimiser[step], device)
    new: dict[str, Tensor] = {}
    with torch.no_grad(), exact(_profile(manifest)):
        for name, gradient in gradients.items():
            keys = (f"{PARAM}{name}", f"{ADAM_M}{name}", f"{ADAM_V}{name}")
            parameter, first, second = (state[key].to(device) for key in keys)
            new.update(zip(keys, adamw(parameter, first, second, gradient, row), strict=True))
    return new


def _finish(run: Callable[[], dict[str, Tensor]], witness: Witness) -> Result:
    try:
        tensors = moved(run(), CPU)
        require_finite(tensors)
    except NonFinite:
        return Result({}, NONFINITE_ROOT, witness.root())
    return Result(tensors, result_root(tensors), witness.root())


def _device_of(tensors: Tensors) -> torch.device:
    return next(iter(tensors.values())).device


def _check_program(manifest: Manifest) -> None:
    known = program_root(manifest.program.name)
    if manifest.program.root != known:
        raise ProgramError(
            f"The job runs {manifest.program.name!r} with root {manifest.program.root.hex()}",
            why=f"This release computes the program with root {known.hex()}.",
            fix="Install the release the job was written for, or leave this job alone.",
        )


def _profile(manifest: Manifest) -> Profile:
    return Profile(manifest.profile.name, manifest.profile.b, manifest.profile.kb)


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
