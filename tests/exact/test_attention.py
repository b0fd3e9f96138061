"""Attention: the formula bit by bit, the library's meaning of every argument, its refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol import exact as engine
from protocol.exact import UnsupportedOp, exact
from tests.conformance import reference
from tests.support.exact_tensors import from_bits, patterns, same_bits, to_bits


def operand(*shape: int, seed: int) -> Tensor:
    return from_bits(patterns(torch.Size(shape).numel(), seed, (122, 127))).reshape(shape)


Q, K, V = operand(2, 4, 5, 8, seed=1), operand(2, 4, 6, 8, seed=2), operand(2, 4, 6, 3, seed=3)
LOOKS = torch.tensor([[1, 0, 1, 1, 0, 1]] * 5, dtype=torch.bool)
BLIND = LOOKS.clone().index_fill_(0, torch.tensor([2]), False)

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.1},
    "boolean mask": {"attn_mask": LOOKS},
    "float mask": {"attn_mask": operand(2, 1, 5, 6, seed=4)},
    "mask with a blind query": {"attn_mask": BLIND},
    "mask of minus infinities": {"attn_mask": torch.zeros(5, 6).masked_fill(~BLIND, -torch.inf)},
}


@pytest.mark.parametrize("name", CASES)
def test_attention_means_what_the_library_means(name: str) -> None:
    results = []
    for cast in (torch.float32, torch.float64):
        q, k, v = (t.to(cast).requires_grad_() for t in (Q, K, V))
        options = dict(CASES[name])
        if (
            isinstance(options.get("attn_mask"), Tensor)
            and options["attn_mask"].dtype != torch.bool
        ):
            options["attn_mask"] = options["attn_mask"].to(cast)
        with exact() if cast is torch.float32 else torch.enable_grad():
            y = F.scaled_dot_product_attention(q, k, v, **options)
            results.append([y, *torch.autograd.grad(y.square().sum(), (q, k, v))])
    for got, want in zip(*results, strict=True):
        assert (got.double() - want).norm() / want.norm() < 2e-3


def test_attention_equals_the_reference() -> None:
    q, k, v = Q[0, 0], K[0, 0], V[0, 0]
    scale = reference.rne32(1 / reference.Fraction(8.0**0.5))
    rows = [
        [reference.mul(s, scale) for s in line] for line in reference.gemm(_rows(q), _rows(k.t()))
    ]
    want = reference.gemm([reference.softmax(row) for row in rows], _rows(v))
    with exact():
        got = F.scaled_dot_product_attention(q, k, v)
    assert same_bits(got, from_bits(want))


def _rows(t: Tensor) -> list[list[int]]:
    return [to_bits(row) for row in t]


def test_grouped_heads_are_repeated_heads() -> None:
    few_k, few_v = K[:, :2], V[:, :2]
    with exact():
        grouped = F.scaled_dot_product_attention(Q, few_k, few_v, enable_gqa=True)
        repeated = F.scaled_dot_product_attention(
            Q, few_k.repeat_interleave(2, 1), few_v.repeat_interleave(2, 1)
        )
        assert same_bits(grouped, repeated)
        with pytest.raises(UnsupportedOp, match="no multiple"):
            F.scaled_dot_product_attention(Q, K[:, :3], V[:, :3], enable_gqa=True)


def test_attention_drops_weights_before_it_mixes_values() -> None:
    with exact(seed=4):
        got = F.scaled_dot_product_attention(Q, K, V, dropout_p=0.5)
    with exact(seed=4):
        weights = (torch.matmul(Q, K.transpose(-2, -1)) * (1 / 8**0.5)).softmax(-1)
        assert same_bits(torch.matmul(F.dropout(weights, 0.5), V), got)
    with exact(), pytest.raises(UnsupportedOp, match=r"exact\(seed=") as caught:
        F.scaled_dot_product_attention(Q, K, V, dropout_p=0.5)
    assert caught.value.name == "scaled_dot_product_attention"
    assert "float32[2, 4, 5, 8]" in caught.value.shapes
    assert __file__ in caught.value.where


def test_two_masks_are_refused() -> None:
    with exact(), pytest.raises(UnsupportedOp, match="either"):
        F.scaled_dot_product_attention(Q, K, V, attn_mask=LOOKS, is_causal=True)


def test_attention_inside_a_module_is_replaced_too() -> None:
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    x = operand(2, 5, 8, seed=5)
    with torch.no_grad():
        stock, _ = module(x, x, x, need_weights=False)
        with exact():
            ours, _ = module(x, x, x, need_weights=False)
            explicit, _ = module(x, x, x, need_weights=True)
    torch.testing.assert_close(ours, stock, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(ours, explicit, rtol=1e-2, atol=1e-3)


def test_fused_kernels_called_directly_are_refused_with_the_way_out() -> None:
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with exact(), pytest.raises(engine.UnsupportedOp, match='attn_implementation="eager"'):
        kernel(Q, K, K)
