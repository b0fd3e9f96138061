"""Gradients through the engine are the right gradients: stock binary64 autograd is the judge."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from protocol.exact import exact
from tests.support.exact_step import batch, model
from tests.support.exact_tensors import same_bits


def operand(*shape: int, seed: int = 1) -> Tensor:
    count = torch.Size(shape).numel()
    noise = (torch.arange(count) * 7919 + seed * 104729) % 2003
    return (noise.double() / 1001.5 - 1.0).reshape(shape)


TARGET = torch.tensor([1, 0, -100, 3, 2, 1])
INDEX = torch.tensor([0, 2, 2, 1, 0, 2, 2, 2])
ROW = torch.tensor([[0, 1, 1, 4], [3, 3, 3, 3]])

CASES: dict[str, Callable[..., Tensor]] = {
    "matmul": lambda x: (x @ x.t()).square().sum(),
    "batched matmul": lambda x: torch.matmul(x.view(2, 3, 5), x.view(2, 5, 3)).square().sum(),
    "linear": lambda x: F.linear(x, x[:4], x[:4, 0]).square().mean(),
    "vector product": lambda x: (x @ x[0]).square().sum(),
    "softmax": lambda x: (x.softmax(-1) * x).sum(),
    "log_softmax": lambda x: (x.log_softmax(0) * x).sum(),
    "cross entropy": lambda x: F.cross_entropy(x, TARGET),
    "cross entropy, summed": lambda x: F.cross_entropy(x, TARGET, reduction="sum"),
    "cross entropy, each": lambda x: F.cross_entropy(x, TARGET, reduction="none").square().sum(),
    "layer norm": lambda x: F.layer_norm(x, (5,), x[0] + 1, x[1]).square().sum(),
    "plain layer norm": lambda x: (F.layer_norm(x, (6, 5)) * x).sum(),
    "rms norm": lambda x: (F.rms_norm(x, (5,), x[0] + 1, 1e-5) * x).sum(),
    "embedding": lambda x: F.embedding(INDEX, x[:3]).square().sum(),
    "padded embedding": lambda x: (F.embedding(INDEX, x[:3], padding_idx=2) * 3).square().sum(),
    "gelu": lambda x: F.gelu(x).square().sum(),
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh").square().sum(),
    "silu": lambda x: F.silu(x).square().sum(),
    "sigmoid": lambda x: x.sigmoid().square().sum(),
    "relu": lambda x: F.relu(x).square().sum(),
    "leaky relu": lambda x: F.leaky_relu(x, 0.2).square().sum(),
    "squared error": lambda x: F.mse_loss(x, x.roll(1)) * F.mse_loss(x, x * x, reduction="sum"),
    "squared errors": lambda x: (F.mse_loss(x, x.tanh(), reduction="none") * x).sum(),
    "max pool": lambda x: F.max_pool2d(x.view(1, 1, 6, 5), 3, 1, 1).square().sum(),
    "max pool, dilated": lambda x: F.max_pool1d(x, 2, 1, dilation=2).square().sum(),
    "average pool": lambda x: F.avg_pool2d(x.view(1, 1, 6, 5), 2, padding=1).square().sum(),
    "average pool, inside": lambda x: (
        F.avg_pool1d(x, 3, 1, 1, count_include_pad=False).square().sum()
    ),
    "clamp": lambda x: x.clamp(-0.3, 0.4).square().sum(),
    "functions": lambda x: (x.exp() + (x + 2).log() + x.tanh() + x.erf() + x.sin() + x.cos()).sum(),
    "small functions": lambda x: (x.abs().log1p() + x.expm1()).sum(),
    "powers": lambda x: (x**3 + (x + 3) ** -2 + (x + 3) ** 0.5 + (x + 3).rsqrt()).sum(),
    "division": lambda x: (x / (x + 3) / 7 + 1 / (x + 3)).sum(),
    "mean and norm": lambda x: x.mean(0).square().sum() * x.norm() + x.mean(),
    "indexing": lambda x: (x[INDEX[:4]] * x[:4]).sum() + x[2, 3] * x[:, 1:3].sum(),
    "pairs": lambda x: x[ROW[1], ROW[0]].square().sum(),
    "gather": lambda x: x.gather(1, ROW).square().sum(),
    "index_select": lambda x: x.index_select(0, INDEX).square().sum(),
    "masking": lambda x: (
        x.masked_fill(x > 0.2, 0.5).square().sum() + torch.where(x > 0, x, 0).sum()
    ),
    "boolean index": lambda x: x[x > 0].square().sum(),
    "joining": lambda x: torch.cat([x, x * 2]).square().sum() + torch.stack([x, x]).sum(),
    "splitting": lambda x: sum((t * i).sum() for i, t in enumerate(x.split(2))),
    "maximum": lambda x: torch.maximum(x, x.roll(1)).sum() + torch.minimum(x, x.roll(2)).sum(),
    "in place": lambda x: (x * 1).add_(x).mul_(x).div_(2).sub_(1).square().sum(),
    "residual, repeated use": lambda x: (x + x.tanh() + x * x + (x @ x.t()) @ x).square().sum(),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_agrees_with_binary64(name: str) -> None:
    x64 = operand(6, 5).requires_grad_()
    truth = CASES[name](x64)
    truth.backward()
    x32 = operand(6, 5).float().requires_grad_()
    with exact():
        loss = CASES[name](x32)
        loss.backward()
    assert x64.grad is not None
    assert x32.grad is not None
    torch.testing.assert_close(loss.double(), truth, rtol=2e-3, atol=1e-4)
    error = (x32.grad.double() - x64.grad).norm() / x64.grad.norm()
    assert error < 3e-3, f"relative error {error:.2e}"


def test_gpt2_gradients_agree_with_binary64() -> None:
    gpt2, wide = model(), model().double()
    wide(input_ids=batch(), labels=batch()).loss.backward()
    with exact():
        gpt2(input_ids=batch(), labels=batch()).loss.backward()
    exact_grad = torch.cat([p.grad.double().flatten() for p in gpt2.parameters()])
    true_grad = torch.cat([p.grad.flatten() for p in wide.parameters()])
    error = (exact_grad - true_grad).norm() / true_grad.norm()
    assert error < 5e-3, f"relative error {error:.2e}"


def test_accumulated_gradients_are_the_sum_of_micro_batches() -> None:
    gpt2 = model()
    parts = batch().split(3)
    separate = []
    with exact():
        for part in parts:
            gpt2.zero_grad()
            gpt2(input_ids=part, labels=part).loss.backward()
            separate.append([p.grad.clone() for p in gpt2.parameters()])
        gpt2.zero_grad()
        for part in parts:
            gpt2(input_ids=part, labels=part).loss.backward()
        for p, first, second in zip(gpt2.parameters(), *separate, strict=True):
            assert same_bits(p.grad, first + second)
