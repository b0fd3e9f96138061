"""GEMM against the big-integer reference: rounding, scales, blocks, layouts, routes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from protocol.exact import NonFinite, Profile, RouteUnavailable, gemm, routes
from tests.conformance import reference
from tests.support.exact_tensors import (
    EDGES,
    LARGEST,
    MINUS_ZERO,
    NAN,
    ONE,
    SMALLEST,
    from_bits,
    layouts,
    patterns,
    same_bits,
    to_bits,
)

PROFILES = [Profile(b=b, kb=kb) for b in (14, 16) for kb in (256, 1024)]


def expected(a: Tensor, b: Tensor, profile: Profile) -> Tensor:
    rows = [to_bits(row) for row in a]
    columns = [to_bits(row) for row in b]
    return from_bits(reference.gemm(rows, columns, profile.b, profile.kb))


def operand(rows: int, columns: int, seed: int, exponents: tuple[int, int]) -> Tensor:
    return from_bits(patterns(rows * columns, seed, exponents)).reshape(rows, columns)


@pytest.mark.parametrize("route", ["float64", "int8"])
@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: f"b{p.b}-kb{p.kb}")
@pytest.mark.parametrize(
    ("k", "exponents"),
    [
        (1, (1, 254)),  # one product, any scale
        (40, (110, 140)),  # ordinary values
        (40, (0, 0)),  # subnormals only
        (33, (0, 12)),  # tiny scales that need two steps
        (33, (100, 254)),  # products that overflow
        (33, (60, 70)),  # products that end as subnormals
        (255, (120, 130)),
        (256, (120, 130)),
        (257, (120, 130)),  # one element in a block of its own
        (600, (100, 130)),
    ],
)
def test_gemm_equals_the_reference(
    route: str, profile: Profile, k: int, exponents: tuple[int, int]
) -> None:
    a, b = operand(17, k, 1, exponents), operand(k, 18, 2, exponents)
    assert same_bits(gemm(a, b, profile, route=route), expected(a, b, profile))


@pytest.mark.parametrize("kb", [256, 512, 1024])
def test_gemm_folds_blocks_in_ascending_order(kb: int) -> None:
    k = 2 * kb + 1
    a, b = torch.zeros(1, k), torch.ones(k, 1)
    a[0, 0], a[0, kb], a[0, 2 * kb] = 1.0, 2.0**24, -(2.0**24)
    # (1 + 2^24) - 2^24 loses the 1 to a tie; one exact sum would keep it.
    assert gemm(a, b, Profile(kb=kb)).item() == 0.0
    assert same_bits(gemm(a, b, Profile(kb=kb)), expected(a, b, Profile(kb=kb)))


@pytest.mark.parametrize("bits", [14, 16])
@pytest.mark.parametrize("route", ["float64", "int8"])
def test_gemm_survives_extreme_digits(bits: int, route: str) -> None:
    # Digits 64 and -64 (b = 14), 127 and -128 (b = 16): where saturating kernels go wrong.
    for value in (8128 / 8192, 1.0 - 2.0**-24, 32639 / 32768, -1.0, 32640 / 32768):
        a = torch.full((16, 1024), value)
        b = torch.full((1024, 16), -value)
        profile = Profile(b=bits)
        want = expected(a[:1], b[:, :1], profile)
        assert same_bits(gemm(a, b, profile, route=route), want.expand(16, 16))


def test_gemm_rounds_ties_of_operands_to_even() -> None:
    # With a row maximum of 1, one unit of q is 2^-12: 1.5 and 2.5 units are ties.
    a = torch.tensor([[1.0, 1.5 * 2.0**-12, 2.5 * 2.0**-12]])
    assert gemm(a, torch.tensor([[0.0], [1.0], [0.0]])).item() == 2 * 2.0**-12
    assert gemm(a, torch.tensor([[0.0], [0.0], [1.0]])).item() == 2 * 2.0**-12


def test_gemm_result_zero_is_positive() -> None:
    tiny = from_bits([[SMALLEST | MINUS_ZERO]])
    for a, b in (
        (from_bits([[MINUS_ZERO]]), from_bits([[ONE]])),
        (tiny, from_bits([[SMALLEST]])),
        (torch.tensor([[1.0, -1.0]]), torch.ones(2, 1)),
    ):
        assert to_bits(gemm(a, b)) == [0]


def test_gemm_of_nothing_is_positive_zero() -> None:
    assert to_bits(gemm(torch.zeros(2, 0), torch.zeros(0, 3))) == [0] * 6
    assert gemm(torch.zeros(0, 4), torch.zeros(4, 3)).shape == (0, 3)


def test_gemm_overflow_is_infinite() -> None:
    big = from_bits([[LARGEST]])
    assert gemm(big, big).item() == float("inf")
    assert gemm(big, -big).item() == float("-inf")


@pytest.mark.parametrize("bits", [NAN, 0x7F800000, 0xFF800000, 0xFFC00001, 0x7F800001])
@pytest.mark.parametrize("side", [0, 1])
def test_gemm_with_a_non_finite_operand_raises(bits: int, side: int) -> None:
    operands = [torch.ones(4, 3), torch.ones(3, 4)]
    operands[side].view(-1)[5] = from_bits([bits])[0]
    with pytest.raises(NonFinite):
        gemm(*operands)


def test_gemm_depends_on_values_not_on_layout() -> None:
    a, b = operand(20, 48, 3, (100, 130)), operand(48, 24, 4, (100, 130))
    want = gemm(a, b)
    for left in layouts(a).values():
        for right in layouts(b).values():
            assert same_bits(gemm(left, right), want)
    row = a[:1].expand(20, 48)
    assert same_bits(gemm(row, b), want[:1].expand(20, 24))


@pytest.mark.parametrize("route", ["float64", "int8"])
def test_batched_gemm_equals_its_slices(route: str) -> None:
    a = operand(3 * 128, 144, 5, (100, 130)).reshape(3, 128, 144)
    b = operand(3 * 144, 128, 6, (100, 130)).reshape(3, 144, 128)
    slices = torch.stack([gemm(x, y, route="float64") for x, y in zip(a, b, strict=True)])
    assert same_bits(gemm(a, b, route=route), slices)


def test_routes_agree_on_ragged_shapes() -> None:
    for m, k, n in ((16, 16, 16), (17, 33, 47), (64, 1025, 31), (1, 64, 64), (130, 7, 19)):
        a, b = operand(m, k, m, (90, 140)), operand(k, n, n, (90, 140))
        for profile in PROFILES:
            int8 = gemm(a, b, profile, route="int8")
            assert same_bits(int8, gemm(a, b, profile, route="float64"))


def test_this_machine_has_the_binary64_route() -> None:
    assert routes()["float64"]


def test_unknown_route_raises() -> None:
    with pytest.raises(RouteUnavailable, match="'bfloat16' is unknown"):
        gemm(torch.ones(1, 1), torch.ones(1, 1), route="bfloat16")


def test_single_products_of_edges_equal_the_reference() -> None:
    column = from_bits(list(EDGES)).reshape(-1, 1)
    assert same_bits(gemm(column, column.t()), expected(column, column.t(), Profile()))
