"""Compositions bit by bit against the reference, and in accuracy against binary64."""

from __future__ import annotations

import dataclasses
import struct

import pytest
import torch

from protocol import exact
from protocol.exact import compositions as engine
from tests.conformance import reference
from tests.conformance.reference.functions import correctly_rounded
from tests.support.exact_tensors import from_bits, layouts, patterns, same_bits, to_bits

HALF, ONE = 0x3F000000, 0x3F800000


def bits_of(scalar: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", scalar))[0])


def test_constants_have_the_bits_of_the_profile() -> None:
    assert bits_of(engine._CUBIC) == 0x3D372713
    assert bits_of(engine._SQRT_2_OVER_PI) == 0x3F4C422A
    assert bits_of(engine._SQRT_HALF) == 0x3F3504F3
    assert bits_of(engine._INV_SQRT_2PI) == 0x3ECC422A
    assert bits_of(engine._CUBIC_3) == 0x3E095D4F


@pytest.mark.parametrize("length", [1, 2, 33, 257])
def test_softmax_equals_the_reference(length: int) -> None:
    rows = [patterns(length, seed, (110, 132)) for seed in range(3)]
    want = from_bits([reference.softmax(row) for row in rows])
    x = from_bits(rows)
    assert same_bits(exact.softmax(x, 1), want)
    for view in layouts(x).values():
        assert same_bits(exact.softmax(view, 1), want)
    assert same_bits(exact.softmax(x.t(), 0), want.t())


def test_softmax_ignores_masked_places_and_refuses_masked_rows() -> None:
    x = torch.tensor([[1.0, float("-inf"), 2.0]])
    kept = exact.softmax(torch.tensor([[1.0, 2.0]]), 1)
    got = exact.softmax(x, 1)
    assert got[0, 1].item() == 0.0
    assert same_bits(got[:, [0, 2]], kept)
    with pytest.raises(exact.NonFinite):
        exact.softmax(torch.full((1, 3), float("-inf")), 1)


@pytest.mark.parametrize("exponents", [(120, 130), (90, 100), (0, 60)])
def test_layer_norm_equals_the_reference(exponents: tuple[int, int]) -> None:
    rows = [patterns(24, seed, exponents) for seed in range(4)]
    weight, bias = patterns(24, 11, (120, 130)), patterns(24, 12, (120, 130))
    want = [reference.layer_norm(row, weight, bias, bits_of(1e-5)) for row in rows]
    got, _, _ = exact.layer_norm(from_bits(rows), [24], from_bits(weight), from_bits(bias), 1e-5)
    assert same_bits(got, from_bits(want))


def test_gelu_tanh_rounds_at_every_sign() -> None:
    bits = patterns(1500, 3, (122, 129))
    mul, add = reference.mul, reference.add
    want = []
    for x in bits:
        inner = mul(0x3F4C422A, add(x, mul(0x3D372713, mul(mul(x, x), x))))
        want.append(mul(mul(HALF, x), add(ONE, correctly_rounded("tanh", inner))))
    assert to_bits(exact.gelu(from_bits(bits), "tanh")) == want


def test_gelu_erf_and_silu_round_at_every_sign() -> None:
    bits = patterns(1000, 4, (120, 129))
    mul, add, div = reference.mul, reference.add, reference.div
    gelu, silu = [], []
    for x in bits:
        gelu.append(mul(mul(HALF, x), add(ONE, correctly_rounded("erf", mul(x, 0x3F3504F3)))))
        silu.append(div(x, add(ONE, correctly_rounded("exp", x ^ 0x80000000))))
    assert to_bits(exact.gelu(from_bits(bits))) == gelu
    assert to_bits(exact.silu(from_bits(bits))) == silu


def test_adamw_equals_the_reference() -> None:
    row = exact.AdamWRow(0.999, 0.9, 0.1, 0.999, 0.001, 0.003, 3.2, 1e-8)
    scalars = {name: bits_of(s) for name, s in dataclasses.asdict(row).items()}
    p, g, m = (patterns(80, seed, (105, 130)) for seed in (1, 2, 3))
    v = [b & 0x7FFFFFFF for b in patterns(80, 4, (100, 120))]
    got = exact.adamw(*(from_bits(t) for t in (p, g, m, v)), row)
    want = [reference.adamw(*each, scalars) for each in zip(p, g, m, v, strict=True)]
    for tensor, column in zip(got, zip(*want, strict=True), strict=True):
        assert to_bits(tensor) == list(column)


def test_adamw_leaves_its_operands_alone() -> None:
    row = exact.AdamWRow(0.999, 0.9, 0.1, 0.999, 0.001, 0.003, 3.2, 1e-8)
    operands = [torch.full((3,), x) for x in (1.0, 2.0, 3.0, 4.0)]
    exact.adamw(*operands, row)
    assert [t[0].item() for t in operands] == [1.0, 2.0, 3.0, 4.0]


def test_clip_scales_down_to_the_norm_and_never_up() -> None:
    tensors = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    clipped, norm = exact.clip_by_norm(tensors, 1.0)
    assert norm.item() == 5.0
    fifth = torch.tensor(1.0) / torch.tensor(5.0)
    assert same_bits(clipped[0], tensors[0] * fifth)
    assert same_bits(clipped[1], tensors[1] * fifth)
    for loose in (5.0, 6.0):
        same, _ = exact.clip_by_norm(tensors, loose)
        assert same_bits(same[0], tensors[0])
    zero, norm = exact.clip_by_norm([torch.zeros(2)], 1.0)
    assert norm.item() == 0.0
    assert to_bits(zero[0]) == [0, 0]
    with pytest.raises(exact.NonFinite):
        exact.clip_by_norm([torch.tensor([1e38, 1e38])], 1.0)


def test_global_norm_does_not_depend_on_order() -> None:
    tensors = [from_bits(patterns(50, seed, (100, 130))) for seed in range(6)]
    want = exact.global_norm(tensors)
    assert same_bits(exact.global_norm(tensors[::-1]), want)
    truth = torch.cat(tensors).double().norm()
    assert abs(want.double() - truth) / truth < 1e-6
