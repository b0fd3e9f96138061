"""docs/how-to/exact-training.md: its program prints what it says, its table is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.utils.data import DataLoader, TensorDataset

from protocol import exact as engine
from protocol.exact import exact

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "exact-training.md").read_text()
X = engine.uniform(engine.Draw(1), (8, 4))
Y = torch.arange(8) % 3


def block(opening: str) -> str:
    """The fenced block that begins so, without its fences."""
    found = re.search(rf"^```(?:python)?\n({opening}.*?)^```$", PAGE, re.M | re.S)
    assert found
    return found[1]


@pytest.mark.parametrize(
    "machine",
    [
        {},
        {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
        {"GRADPROOF_EXACT_KERNELS": "off", "GRADPROOF_EXACT_ROUTE": "float64"},
    ],
)
def test_program_of_the_page_prints_what_the_page_says(
    machine: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "train.py"
    program.write_text(block("import torch"))
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | machine,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == block("right: ")


def model() -> nn.Module:
    built = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.0), nn.Linear(6, 3))
    for stream, p in enumerate(built.parameters()):
        p.data.copy_(engine.uniform(engine.Draw(2, stream), p.shape) - 0.5)
    return built


def backward(built: nn.Module) -> Tensor:
    loss = F.cross_entropy(built(X), Y)
    loss.backward()
    return loss


@pytest.mark.parametrize("name", ["AdamW", "Adam", "NAdam", "RMSprop", "Adagrad"])
def test_optimiser_of_torch_is_refused_with_the_one_to_take(name: str) -> None:
    built = model()
    optimiser = getattr(torch.optim, name)(built.parameters())
    match = r"AdamW.* of protocol\.exact"
    with exact():
        backward(built)
        with pytest.raises(engine.UnsupportedOp, match=match) as caught:
            optimiser.step()
    assert f"Optimizer.step#{name}.step" in str(caught.value)
    assert __file__ in str(caught.value)


def test_clipping_runs_in_both_ways() -> None:
    for clip in (
        lambda built: nn.utils.clip_grad_norm_(built.parameters(), 0.1),
        lambda built: nn.utils.clip_grad_norm_(built.parameters(), 0.1, foreach=False),
    ):
        built = model()
        with exact():
            backward(built)
            before = engine.global_norm([p.grad for p in built.parameters()])
            clip(built)
            after = engine.global_norm([p.grad for p in built.parameters()])
        assert before.item() > 0.1
        assert after.item() == pytest.approx(0.1, rel=1e-4)
    with exact():
        nn.utils.clip_grad_value_(built.parameters(), 0.001)
    assert max(p.grad.abs().max().item() for p in built.parameters()) == pytest.approx(0.001)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_evaluation_has_the_bits_of_the_forward_pass(context: Callable[[], object]) -> None:
    built = model()
    with exact():
        want = backward(built).item()
        with context():
            assert F.cross_entropy(built.eval()(X), Y).item() == want


def test_loader_stays_outside_and_the_engine_inside() -> None:
    with exact(), pytest.raises(engine.UnsupportedOp, match="DataLoader before"):
        next(iter(DataLoader(TensorDataset(X, Y), shuffle=True)))
    built, seen = model(), 0
    for x, y in DataLoader(TensorDataset(X, Y), batch_size=4, num_workers=0):
        with exact():
            F.cross_entropy(built(x), y).backward()
        seen += len(x)
    assert seen == len(X)


def scale_and_step(
    scaler: torch.amp.GradScaler, loss: Tensor, optimiser: torch.optim.Optimizer
) -> None:
    scaler.scale(loss)
    scaler.step(optimiser)


def test_building_inside_is_refused() -> None:
    with exact(), pytest.raises(engine.UnsupportedOp, match="uniform"):
        model()


def test_gradient_scaler_and_unknown_switches_are_refused() -> None:
    built = model()
    scaler = torch.amp.GradScaler("cpu")
    with exact():
        loss = backward(built)
        with pytest.raises(engine.UnsupportedDtype, match="float64"):
            scale_and_step(scaler, loss, engine.AdamW(built.parameters()))
    with pytest.raises(TypeError, match="amsgrad"):
        engine.AdamW(built.parameters(), amsgrad=True)
