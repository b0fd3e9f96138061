"""Elementwise primitives against fractions, on the patterns where rounding turns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from protocol.exact import NonFinite, add, clamp, div, exact, max2, min2, mul, relu, sqrt, sub
from tests.conformance import reference
from tests.support.exact_tensors import (
    EDGES,
    MINUS_ZERO,
    NAN,
    from_bits,
    layouts,
    patterns,
    same_bits,
    to_bits,
)

PAIRS = [*product(EDGES, EDGES), *zip(patterns(400, 1), patterns(400, 2), strict=True)]
BINARY: dict[str, tuple[Callable[..., Tensor], Callable[[int, int], int]]] = {
    "add": (add, reference.add),
    "sub": (sub, reference.sub),
    "mul": (mul, reference.mul),
    "div": (div, reference.div),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_operation_equals_the_reference(name: str) -> None:
    operation, judge = BINARY[name]
    pairs = [(x, y) for x, y in PAIRS if name != "div" or y & 0x7FFFFFFF]
    x, y = from_bits([p[0] for p in pairs]), from_bits([p[1] for p in pairs])
    want = [judge(*pair) for pair in pairs]
    assert to_bits(operation(x, y)) == want
    assert to_bits(operation(layouts(x)["strided"], layouts(y)["offset"])) == want


def test_division_by_a_host_scalar_is_a_division() -> None:
    bits = patterns(300, 5, (100, 150))
    for scalar in (3, 10.0, 0.1, 7):
        divisor = to_bits(torch.tensor(float(scalar)))[0]
        want = [reference.div(x, divisor) for x in bits]
        assert to_bits(div(from_bits(bits), scalar)) == want
        with exact():
            assert to_bits(from_bits(bits) / scalar) == want


def test_alpha_is_a_product_of_its_own() -> None:
    x, y = from_bits(patterns(500, 1, (120, 130))), from_bits(patterns(500, 2, (120, 130)))
    third = torch.tensor(1 / 3)
    with exact():
        got = torch.add(x, y, alpha=1 / 3)
        back = torch.sub(x, y, alpha=1 / 3)
        reverse = torch.rsub(x, y, alpha=1 / 3)
    assert same_bits(got, add(x, mul(y, third)))
    assert same_bits(back, sub(x, mul(y, third)))
    assert same_bits(reverse, sub(y, mul(x, third)))


def test_fused_operations_round_at_every_sign() -> None:
    x, y, z = (from_bits(patterns(500, seed, (120, 130))) for seed in (1, 2, 3))
    with exact():
        assert same_bits(torch.addcmul(x, y, z, value=0.3), add(x, mul(mul(y, z), 0.3)))
        assert same_bits(torch.addcmul(x, y, z), add(x, mul(y, z)))
        assert same_bits(torch.addcdiv(x, y, z, value=0.3), add(x, mul(div(y, z), 0.3)))
        assert same_bits(torch.lerp(x, y, 0.3), add(x, mul(sub(y, x), 0.3)))
        assert same_bits(torch.rsqrt(x.abs()), div(1.0, sqrt(x.abs())))
        assert same_bits(x**3, mul(mul(x, x), x))
        assert same_bits(x**-2, div(1.0, mul(x, x)))


def test_square_root_equals_the_reference() -> None:
    bits = [b & 0x7FFFFFFF for b in (*EDGES, *patterns(500, 3))]
    squares = to_bits(mul(from_bits(bits[:40]), from_bits(bits[:40])))
    bits += [b for b in squares if reference.is_finite(b)]
    assert to_bits(sqrt(from_bits(bits))) == [reference.sqrt(b) for b in bits]
    assert to_bits(sqrt(from_bits([MINUS_ZERO]))) == [MINUS_ZERO]
    assert torch.isnan(sqrt(torch.tensor(-1.0)))


@pytest.mark.parametrize("length", [1, 3, 8, 17, 64])
def test_extrema_of_two_propagate_nan_and_return_positive_zero(length: int) -> None:
    nan = from_bits([NAN]).expand(length)
    one = torch.ones(length)
    zero, minus = torch.zeros(length), from_bits([MINUS_ZERO] * length)
    for function in (max2, min2):
        assert torch.isnan(function(nan, one)).all()
        assert torch.isnan(function(one, nan)).all()
        for x, y in product((zero, minus), repeat=2):
            assert to_bits(function(x, y)) == [0] * length
    assert to_bits(relu(minus)) == [0] * length
    assert torch.isnan(relu(nan)).all()
    assert to_bits(clamp(minus, -1.0, 1.0)) == [0] * length
    assert torch.isnan(clamp(nan, -1.0, 1.0)).all()
    assert clamp(torch.tensor(5.0), None, 2.0).item() == 2.0


def test_rounding_and_signs_inside_the_engine() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -0.0])
    with exact():
        assert same_bits(x.round(), torch.tensor([0.0, 2.0, 2.0, -0.0, -2.0, -0.0]))
        assert same_bits(-x, torch.tensor([-0.5, -1.5, -2.5, 0.5, 1.5, 0.0]))
        assert same_bits(x.floor(), torch.tensor([0.0, 1.0, 2.0, -1.0, -2.0, -0.0]))


def test_integers_become_floats_by_nearest_even() -> None:
    whole = [2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**53 + 2**29 + 1, 2**62 + 2**38 + 1, 2**63 - 1]
    want = [reference.rne32(reference.Fraction(n)) for n in whole]
    with exact():
        assert to_bits(torch.tensor(whole).float()) == want
        assert to_bits(torch.tensor(whole) * torch.tensor(1.0)) == want
        assert to_bits(torch.tensor(whole * 9).float()) == want * 9


def test_floats_become_integers_only_when_they_fit() -> None:
    with exact():
        assert torch.tensor([1.9, -1.9, 2.0**62]).long().tolist() == [1, -1, 2**62]
        assert torch.tensor([-(2.0**31)]).int().tolist() == [-(2**31)]
        for bad in (float("nan"), float("inf"), 2.0**63, -(2.0**64)):
            with pytest.raises(NonFinite):
                torch.tensor([bad]).long()
        with pytest.raises(NonFinite):
            torch.tensor([2.0**31]).int()
        with pytest.raises(NonFinite):
            torch.zeros(1, dtype=torch.int64).copy_(torch.tensor([float("nan")]))
