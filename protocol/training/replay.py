"""The whole training in one process, without a market.

An auditor runs it to re-derive the model; it proves that what the market trained is what anybody
trains alone. INVARIANT: it uses nothing but the manifest, the genesis state, the data and, per
round, which tasks were included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protocol.exact.roots import result_root
from protocol.training.errors import ProgramError
from protocol.training.manifest import Manifest
from protocol.training.model import VALIDATION_LOSS
from protocol.training.program import CPU, Batches, Result, compute_task, compute_update

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReplayedRound:
    """One round: every included task's outcome, the update's, and the state after it.

    `update` is None when the round changed nothing: no task was included, or it was NONFINITE.
    """

    round_: int
    tasks: Mapping[int, Result]
    update: Result | None
    state: Mapping[str, Tensor]
    state_root: bytes

    @property
    def validation_loss(self) -> float:
        """The loss over the evaluation set of the state after the round."""
        return float(self.state[VALIDATION_LOSS])


def replay_rounds(
    manifest: Manifest,
    genesis: Mapping[str, Tensor],
    batches: Batches,
    included: Sequence[Sequence[int]],
    report: Report | None = None,
    device: torch.device = CPU,
) -> Iterator[ReplayedRound]:
    """Recompute round after round. `included[r]` are the tasks in the update of round r.

    `report(round, task)` precedes each task. Raises `ProgramError` when the genesis state is not
    the manifest's, or a task said to be included gives NONFINITE.
    """
    state, root = genesis, result_root(genesis)
    if root != manifest.genesis.root:
        raise ProgramError(
            f"The genesis state has root {root.hex()}",
            why=f"The manifest says {manifest.genesis.root.hex()}.",
            fix="Fetch the genesis bundle the manifest names.",
        )
    for round_, tasks in enumerate(included):
        results = {}
        for task in sorted(tasks):
            if report is not None:
                report(round_, task)
            results[task] = compute_task(manifest, state, batches, round_, task, device=device)
        update = _update(manifest, state, results, batches, device)
        if update is not None:
            state, root = update.tensors, update.root
        yield ReplayedRound(round_, results, update, state, root)


def replay(
    manifest: Manifest,
    genesis: Mapping[str, Tensor],
    batches: Batches,
    included: Sequence[Sequence[int]],
) -> bytes:
    """Return the root of the state after all given rounds; see `replay_rounds`."""
    root = manifest.genesis.root
    for done in replay_rounds(manifest, genesis, batches, included):
        root = done.state_root
    return root


def _update(
    manifest: Manifest,
    state: Mapping[str, Tensor],
    results: Mapping[int, Result],
    batches: Batches,
    device: torch.device,
) -> Result | None:
    nonfinite = [task for task, result in results.items() if result.is_nonfinite]
    if nonfinite:
        raise ProgramError(
            f"Tasks {nonfinite} give NONFINITE",
            why="Such a result is paid but never included.",
            fix="Read the included tasks from the chain again.",
        )
    if not results:
        return None
    tensors = {task: result.tensors for task, result in results.items()}
    update = compute_update(manifest, state, tensors, batches, device=device)
    return None if update.is_nonfinite else update
