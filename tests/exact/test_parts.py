"""What is computed part by part has the bits of what is computed at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protocol.exact import compositions, contraction, index_sum, parts, sum_
from protocol.exact.contraction import Float64Route
from protocol.exact.kernels.fused import compositions_only
from protocol.exact.profile import Profile
from tests.support.exact_tensors import same_bits

FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sigmoid": lambda x, _: compositions.sigmoid(x),
    "silu": lambda x, _: compositions.silu(x),
    "silu_backward": lambda x, g: compositions.silu_backward(g, x),
    "gelu_tanh": lambda x, _: compositions.gelu(x, "tanh"),
    "gelu_erf_backward": lambda x, g: compositions.gelu_backward(g, x),
    "softmax": lambda x, _: compositions.softmax(x, -1),
    "softmax_columns": lambda x, _: compositions.softmax(x, 1),
    "softmax_backward": lambda x, g: compositions.softmax_backward(g, x, 2),
    "log_softmax": lambda x, _: compositions.log_softmax(x, -1),
    "log_softmax_backward": lambda x, g: compositions.log_softmax_backward(g, x, -1),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("contiguous", [True, False])
def test_formula_in_parts_equals_the_whole(
    monkeypatch: pytest.MonkeyPatch, name: str, contiguous: bool
) -> None:
    generator = torch.Generator().manual_seed(3)
    x, g = (torch.randn(3, 17, 50, generator=generator) * 4 for _ in range(2))
    if not contiguous:
        x = x.mT.contiguous().mT
    with compositions_only():
        whole = FORMULAS[name](x, g)
        monkeypatch.setattr(parts, "PART", 120)  # two rows; the last part is shorter
        assert same_bits(FORMULAS[name](x, g), whole)


def test_batched_product_in_parts_equals_its_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.randn(7, 9, 30, generator=generator), torch.randn(7, 30, 11, generator=generator)
    route, profile = Float64Route(), Profile()
    want = torch.stack([route.gemm(x, y, profile) for x, y in zip(a, b, strict=True)])
    for batch, part in [(2 * 330, 1 << 18), (1, 40)]:
        monkeypatch.setattr(contraction, "_BATCH", batch)
        monkeypatch.setattr(contraction, "_PART", part)
        assert same_bits(route.gemm(a, b, profile), want)


@pytest.mark.parametrize("width", [1, 9])
def test_index_sum_adds_the_hits_of_each_row(width: int) -> None:
    """Rows hit 0 to 40 times: every number of hits on both sides of each power of two."""
    generator = torch.Generator().manual_seed(5)
    index = torch.arange(41).repeat_interleave(torch.arange(41))
    index = index[torch.randperm(len(index), generator=generator)]
    scales = torch.randint(-40, 40, (len(index), 1), generator=generator)
    source = torch.ldexp(torch.randn(len(index), width, generator=generator), scales)
    with compositions_only():
        got = index_sum(index, source, 43)
        for row in range(43):
            want = sum_(source[index == row], 0)
            assert same_bits(got[row], want), row


@pytest.mark.parametrize("index", [-1, 4])
def test_index_sum_refuses_a_row_that_is_not_there(index: int) -> None:
    with compositions_only(), pytest.raises((IndexError, RuntimeError)):
        index_sum(torch.tensor([0, index]), torch.ones(2, 3), 4)
