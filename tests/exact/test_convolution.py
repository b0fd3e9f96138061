"""Convolutions bit by bit against windows and products of the reference."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol.exact import NonFinite, UnsupportedOp, exact
from tests.conformance import reference
from tests.support.exact_tensors import from_bits, layouts, patterns, same_bits, to_bits

RANGE = (118, 130)


def operand(*shape: int, seed: int) -> Tensor:
    return from_bits(patterns(torch.Size(shape).numel(), seed, RANGE)).reshape(shape)


def windows(
    x: Tensor, kernel: tuple[int, int], stride: int, padding: int, dilation: int
) -> list[list[int]]:
    """Rows of patterns: one per (sample, position), columns in the order (channel, kernel)."""
    bits = torch.tensor(to_bits(x)).reshape(x.shape).tolist()
    samples, channels, height, width = x.shape
    reach = [dilation * (k - 1) + 1 for k in kernel]
    rows = []
    tops = range(-padding, height + padding - reach[0] + 1, stride)
    lefts = range(-padding, width + padding - reach[1] + 1, stride)
    for n, top, left in product(range(samples), tops, lefts):
        row = []
        for c, i, j in product(range(channels), range(kernel[0]), range(kernel[1])):
            y, z = top + dilation * i, left + dilation * j
            row.append(bits[n][c][y][z] if 0 <= y < height and 0 <= z < width else 0)
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 1)]
)
def test_convolution_is_the_product_of_windows(stride: int, padding: int, dilation: int) -> None:
    x, weight, bias = operand(2, 3, 6, 7, seed=1), operand(4, 3, 3, 2, seed=2), operand(4, seed=3)
    rows = windows(x, (3, 2), stride, padding, dilation)
    kernels = [to_bits(w) for w in weight]
    columns = [list(c) for c in zip(*kernels, strict=True)]
    want = [
        [reference.add(v, b) for v, b in zip(line, to_bits(bias), strict=True)]
        for line in reference.gemm(rows, columns)
    ]
    with exact():
        got = F.conv2d(x, weight, bias, stride, padding, dilation)
        assert same_bits(got.movedim(1, -1).reshape(-1, 4), from_bits(want))
        for view in layouts(x).values():
            assert same_bits(F.conv2d(view, weight, bias, stride, padding, dilation), got)


def test_groups_are_convolutions_of_their_channels() -> None:
    x, weight = operand(2, 4, 9, seed=4), operand(6, 2, 3, seed=5)
    with exact():
        whole = F.conv1d(x, weight, groups=2)
        parts = [F.conv1d(x[:, :2], weight[:3]), F.conv1d(x[:, 2:], weight[3:])]
    assert same_bits(whole, torch.cat(parts, 1))


def test_kernel_gradient_contracts_over_samples_and_positions() -> None:
    x, weight = operand(2, 2, 5, 5, seed=6), operand(3, 2, 2, 2, seed=7)
    weight.requires_grad_()
    grad = operand(2, 3, 4, 4, seed=8)
    rows = windows(x, (2, 2), 1, 0, 1)
    left = [to_bits(g) for g in grad.transpose(0, 1)]
    with exact():
        F.conv2d(x, weight).backward(grad)
    assert weight.grad is not None
    want = reference.gemm(left, rows)
    assert same_bits(weight.grad.reshape(3, -1), from_bits(want))


def test_input_gradient_is_the_convolution_with_the_turned_kernel() -> None:
    x, weight = operand(1, 2, 6, 6, seed=9).requires_grad_(), operand(3, 2, 3, 3, seed=10)
    grad = operand(1, 3, 4, 4, seed=11)
    turned = weight.flip(2, 3).transpose(0, 1)
    columns = [list(c) for c in zip(*[to_bits(w) for w in turned], strict=True)]
    want = reference.gemm(windows(grad, (3, 3), 1, 2, 1), columns)
    with exact():
        F.conv2d(x, weight).backward(grad)
        assert x.grad is not None
        assert same_bits(x.grad.movedim(1, -1).reshape(-1, 2), from_bits(want))
        assert same_bits(F.conv_transpose2d(grad, weight), x.grad)


CASES = [
    nn.Conv1d(4, 6, 3, stride=2, padding=1),
    nn.Conv1d(4, 8, 4, dilation=2, padding=3, groups=4),
    nn.ConvTranspose1d(4, 6, 3, stride=3, padding=1, output_padding=1, groups=2),
    nn.ConvTranspose1d(4, 6, 4, dilation=2, padding=3, output_padding=1),
    nn.Conv2d(4, 6, 3, padding="same"),
    nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", groups=4),
    nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1)),
    nn.Conv3d(4, 2, 3, padding=1, stride=2, bias=False),
]


@pytest.mark.parametrize("module", CASES, ids=str)
def test_convolution_and_gradients_agree_with_binary64(module: nn.Module) -> None:
    axes = {"1d": 1, "2d": 2, "3d": 3}[type(module).__name__[-2:]]
    x = operand(2, 4, *[7] * axes, seed=12)
    with torch.no_grad():
        for seed, p in enumerate(module.parameters(), start=20):
            p.copy_(operand(*p.shape, seed=seed))
    results = []
    for cast in (torch.float32, torch.float64):
        own, at = module.to(cast), x.to(cast).requires_grad_()
        with exact() if cast is torch.float32 else torch.enable_grad():
            y = own(at)
            results.append(
                [y, *torch.autograd.grad(y.sum() + y[0, 0].sum(), [at, *own.parameters()])]
            )
    for got, want in zip(*results, strict=True):
        assert (got.double() - want).norm() / want.norm() < 2e-3


def test_convolution_refuses_what_it_does_not_define() -> None:
    with exact():
        with pytest.raises(NonFinite):
            F.conv1d(torch.full((1, 1, 4), float("nan")), torch.ones(1, 1, 2))
        with pytest.raises(UnsupportedOp, match="float32"):
            F.conv1d(torch.ones(1, 1, 4, dtype=torch.int64), torch.ones(1, 1, 2, dtype=torch.int64))
