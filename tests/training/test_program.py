"""The program: right gradients, the same bits everywhere, and NONFINITE as a result."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from protocol.exact import result_root
from protocol.rules.sealing import NONFINITE_ROOT
from protocol.training.bundle import read_bundle, schema_of
from protocol.training.errors import ModelError, ProgramError
from protocol.training.manifest_parts import Aggregation
from protocol.training.model import check_tensors, parameters_of, result_schema, schema, skeleton
from protocol.training.program import compute_task, compute_update, evaluate, write_result
from protocol.training.replay import replay, replay_rounds

NORM = "grad.transformer.ln_f.weight"


def reference(job: Any, round_: int, task: int) -> tuple[dict[str, Tensor], float]:
    """Gradient and loss by stock torch in binary64."""
    model = skeleton(job.manifest)
    leaves = {
        name: tensor.double().requires_grad_()
        for name, tensor in parameters_of(job.manifest, job.state).items()
    }
    losses = []
    for micro_batch in range(job.manifest.batch.micro_batches):
        tokens = job.dataset.batch(round_, task, micro_batch)
        constants = model.constants(tokens.shape[1] - 1)
        logits = model.forward(leaves, tokens[:, :-1], constants).double()
        losses.append(
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        )
    loss = torch.stack(losses).mean()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True)), float(loss.detach())


def flat(gradients: Any) -> Tensor:
    return torch.cat([gradients[name].double().flatten() for name in sorted(gradients)])


def with_clip(job: Any, clip: float) -> Any:
    return dataclasses.replace(job.manifest, aggregation=Aggregation("mean", clip))


@pytest.fixture(scope="module")
def task_result(job: Any) -> Any:
    return compute_task(job.manifest, job.state, job.dataset, 0, 0)


def gradients_of(result: Any) -> dict[str, Tensor]:
    return {
        name.removeprefix("grad."): tensor
        for name, tensor in result.tensors.items()
        if name != "loss"
    }


def test_gradient_is_the_binary64_one_within_the_profile(job: Any) -> None:
    result = compute_task(with_clip(job, 2.0**20), job.state, job.dataset, 0, 0)
    expected, loss = reference(job, 0, 0)
    found = flat(gradients_of(result))
    error = (found - flat(expected)).norm() / flat(expected).norm()
    assert error < 1e-2
    assert error > 0
    assert float(result.tensors["loss"]) == pytest.approx(loss, rel=1e-3)
    check_tensors(result.tensors, result_schema(job.manifest), "result")


def test_gradient_is_clipped_to_the_jobs_norm(job: Any) -> None:
    whole = compute_task(with_clip(job, 2.0**20), job.state, job.dataset, 0, 0)
    clipped = compute_task(with_clip(job, 0.125), job.state, job.dataset, 0, 0)
    full = flat(gradients_of(whole))
    assert full.norm() > 0.125
    small = flat(gradients_of(clipped))
    assert float(small.norm()) == pytest.approx(0.125, rel=1e-6)
    assert torch.allclose(small / small.norm(), full / full.norm(), atol=1e-6)
    # The witness names the gradient before it was clipped, which no output shows.
    assert clipped.witness == whole.witness
    assert clipped.root != whole.root


def test_task_depends_on_its_place_and_its_state(job: Any, task_result: Any) -> None:
    again = compute_task(job.manifest, job.state, job.dataset, 0, 0)
    assert (again.root, again.witness) == (task_result.root, task_result.witness)
    name = "param.transformer.wpe.weight"
    nudged = job.state | {name: job.state[name] + 1e-3}
    for other in (
        compute_task(job.manifest, job.state, job.dataset, 0, 1),
        compute_task(job.manifest, job.state, job.dataset, 1, 0),
        compute_task(job.manifest, nudged, job.dataset, 0, 0),
    ):
        assert other.root != task_result.root
        assert other.witness != task_result.witness


class OtherTargets:
    """The job's data with another last token, which is a target and never an input."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def batch(self, round_: int, task: int, micro_batch: int) -> Tensor:
        tokens: Tensor = self._dataset.batch(round_, task, micro_batch).clone()
        tokens[:, -1] = (tokens[:, -1] + 1) % 256
        return tokens

    def evaluation_batches(self) -> list[Tensor]:
        batches: list[Tensor] = self._dataset.evaluation_batches()
        return batches


def test_witness_names_the_raw_gradients(job: Any, task_result: Any) -> None:
    # The same inputs give the same activations and logits; only gradients and loss differ.
    other = compute_task(job.manifest, job.state, OtherTargets(job.dataset), 0, 0)
    assert other.root != task_result.root
    assert other.witness != task_result.witness


def test_progress_counts_micro_batches(job: Any) -> None:
    seen: list[tuple[int, int]] = []
    compute_task(job.manifest, job.state, job.dataset, 0, 0, lambda d, t: seen.append((d, t)))
    assert seen == [(1, 2), (2, 2)]


def test_update_is_adamw_on_the_mean_gradient(job: Any) -> None:
    results = {
        task: compute_task(job.manifest, job.state, job.dataset, 0, task).tensors for task in (0, 2)
    }
    update = compute_update(job.manifest, job.state, results, job.dataset)
    assert schema_of(update.tensors) == schema(job.manifest)
    assert int(update.tensors["step"]) == 1
    row = job.manifest.optimiser[0]
    for name, parameter in parameters_of(job.manifest, job.state).items():
        old = parameter.double()
        mean = (results[0][f"grad.{name}"].double() + results[2][f"grad.{name}"].double()) / 2
        first, second = row.b1c * mean, row.b2c * mean * mean
        decayed = old * row.d if old.dim() >= 2 else old
        new = decayed - row.s * first / (second.sqrt() * row.u + row.eps)
        assert torch.allclose(update.tensors[f"param.{name}"].double(), new, atol=1e-6)
        assert torch.allclose(update.tensors[f"adam_m.{name}"].double(), first, atol=1e-8)
        assert torch.allclose(update.tensors[f"adam_v.{name}"].double(), second, atol=1e-10)


def test_update_does_not_depend_on_the_order_results_arrive_in(job: Any) -> None:
    results = {
        task: compute_task(job.manifest, job.state, job.dataset, 0, task).tensors
        for task in range(3)
    }
    forward = compute_update(job.manifest, job.state, results, job.dataset)
    backward = compute_update(job.manifest, job.state, dict(reversed(results.items())), job.dataset)
    fewer = compute_update(job.manifest, job.state, {0: results[0]}, job.dataset)
    assert forward.root == backward.root
    assert forward.witness == backward.witness
    assert fewer.root != forward.root


@pytest.mark.parametrize("size", [1e38, 3.4e38])
def test_one_garbage_result_moves_the_mean_by_no_more_than_its_clip(
    job: Any, task_result: Any, size: float
) -> None:
    hostile = {name: torch.full_like(t, size) for name, t in task_result.tensors.items()}
    update = compute_update(
        job.manifest, job.state, {0: task_result.tensors, 1: hostile}, job.dataset
    )
    assert not update.is_nonfinite
    row = job.manifest.optimiser[0]
    moments = flat({n: t for n, t in update.tensors.items() if n.startswith("adam_m.")})
    assert float(moments.norm()) <= row.b1c * job.manifest.aggregation.norm_clip * 1.0001


def test_zero_gradient_is_no_failure(job: Any, task_result: Any) -> None:
    zero = {name: torch.zeros_like(t) for name, t in task_result.tensors.items()}
    update = compute_update(job.manifest, job.state, {0: zero}, job.dataset)
    assert not update.is_nonfinite
    assert float(flat({n: t for n, t in update.tensors.items() if "adam_" in n}).norm()) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_task_that_is_not_finite_gives_the_nonfinite_result(job: Any, value: float) -> None:
    name = "param.transformer.h.1.mlp.c_fc.weight"
    broken = job.state | {name: torch.full_like(job.state[name], value)}
    result = compute_task(job.manifest, broken, job.dataset, 0, 0)
    assert result.is_nonfinite
    assert result.root == NONFINITE_ROOT
    assert result.tensors == {}
    # Different work up to the failure gives a different witness.
    other = compute_task(job.manifest, broken, job.dataset, 0, 1)
    assert other.root == result.root
    assert other.witness != result.witness


def test_update_that_is_not_finite_gives_the_nonfinite_result(job: Any, task_result: Any) -> None:
    poisoned = dict(task_result.tensors) | {NORM: torch.full((16,), float("nan"))}
    update = compute_update(job.manifest, job.state, {0: poisoned}, job.dataset)
    assert update.is_nonfinite
    assert update.tensors == {}


def test_replay_equals_the_market_step_by_step(job: Any) -> None:
    included = [[0, 1, 2], [], [2, 0], [1]]
    state, roots = job.state, []
    for round_, tasks in enumerate(included):
        results = {
            task: compute_task(job.manifest, state, job.dataset, round_, task).tensors
            for task in tasks
        }
        if results:
            state = compute_update(job.manifest, state, results, job.dataset).tensors
        roots.append(result_root(state))
    replayed = list(replay_rounds(job.manifest, job.state, job.dataset, included))
    assert [done.state_root for done in replayed] == roots
    assert replayed[1].update is None
    assert replay(job.manifest, job.state, job.dataset, included) == roots[-1]
    assert int(state["step"]) == 3
    assert replay(job.manifest, job.state, job.dataset, [[0], [], [2, 0], [1]]) != roots[-1]
    assert replayed[-1].validation_loss < float(job.state["validation_loss"])


def test_replay_refuses_another_genesis(job: Any) -> None:
    other = job.state | {"validation_loss": torch.tensor(1.0)}
    with pytest.raises(ProgramError, match="genesis"):
        replay(job.manifest, other, job.dataset, [[0]])


def test_task_outside_the_job_is_refused(job: Any) -> None:
    for round_, task in ((4, 0), (-1, 0), (0, 3), (0, -1)):
        with pytest.raises(ProgramError, match="outside the job"):
            compute_task(job.manifest, job.state, job.dataset, round_, task)


def test_unknown_program_is_refused(job: Any, task_result: Any) -> None:
    program = dataclasses.replace(job.manifest.program, root=bytes(32))
    manifest = dataclasses.replace(job.manifest, program=program)
    with pytest.raises(ProgramError, match="release"):
        compute_task(manifest, job.state, job.dataset, 0, 0)
    with pytest.raises(ProgramError, match="release"):
        compute_update(manifest, job.state, {0: task_result.tensors}, job.dataset)


def test_update_of_the_wrong_things_is_refused(job: Any, task_result: Any) -> None:
    tensors = task_result.tensors
    cases: list[tuple[Any, Any]] = [
        (job.state, {}),
        (job.state, {3: tensors}),
        (job.state | {"step": torch.tensor(4)}, {0: tensors}),
        (job.state | {"step": torch.tensor(-1)}, {0: tensors}),
        (job.state, {0: {}}),
        (job.state, {0: dict(tensors) | {"more": torch.zeros(1)}}),
        (job.state, {0: dict(tensors) | {NORM: torch.zeros(3)}}),
        (job.state, {0: dict(tensors) | {NORM: torch.zeros(16, dtype=torch.float64)}}),
        ({"step": torch.tensor(0)}, {0: tensors}),
    ]
    for state, results in cases:
        with pytest.raises((ProgramError, ModelError)):
            compute_update(job.manifest, state, results, job.dataset)


SCRIPT = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
from pathlib import Path
from protocol.storage.unixfs import cid_of_file
from protocol.training.bundle import read_bundle
from protocol.training.data import open_dataset
from protocol.training.manifest import Manifest
from protocol.training.model import schema
from protocol.training.replay import replay_rounds
out = Path(sys.argv[2])
files = {cid_of_file(p): p for p in out.rglob("*") if p.is_file()}
manifest = Manifest.parse((out / "manifest.json").read_bytes())
index = (out / "genesis" / "index.json").read_bytes()
state = read_bundle(index, files.__getitem__, schema(manifest), manifest.genesis.root)
dataset = open_dataset(manifest, files.__getitem__)
for done in replay_rounds(manifest, state, dataset, [[0, 1], [2]]):
    witnesses = [result.witness.hex() for result in done.tasks.values()]
    print(done.state_root.hex(), witnesses, torch.get_num_threads())
"""


def test_thread_count_does_not_change_a_bit(job: Any) -> None:
    folder = str(job.authored.manifest_path.parent)
    runs = {
        threads: subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(threads), folder],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for threads in (1, 2)
    }
    printed = {}
    for threads, run in runs.items():
        output, _ = run.communicate(timeout=120)
        assert run.returncode == 0
        lines = output.splitlines()
        assert len(lines) == 2
        assert all(line.endswith(f" {threads}") for line in lines)
        printed[threads] = [line.rpartition(" ")[0] for line in lines]
    assert printed[1] == printed[2]


def test_result_is_written_as_its_bundle(job: Any, task_result: Any, tmp_path: Path) -> None:
    bundle = write_result(task_result, tmp_path / "finite")
    assert bundle.root == task_result.root
    paths = dict(zip(bundle.shard_cids, bundle.shard_paths, strict=True))
    index = bundle.index_path.read_bytes()
    back = read_bundle(index, paths.__getitem__, result_schema(job.manifest), bundle.root)
    assert result_root(back) == task_result.root
    broken = dataclasses.replace(task_result, root=NONFINITE_ROOT, tensors={})
    assert write_result(broken, tmp_path / "nonfinite").root == NONFINITE_ROOT


def test_validation_loss_is_that_of_the_new_parameters(job: Any, task_result: Any) -> None:
    update = compute_update(job.manifest, job.state, {0: task_result.tensors}, job.dataset)
    parameters = parameters_of(job.manifest, update.tensors)
    again = evaluate(job.manifest, parameters, job.dataset)
    assert torch.equal(update.tensors["validation_loss"], again)
    assert not torch.equal(job.state["validation_loss"], again)
