"""Exact sums and order-free extrema against the reference and against their own reorderings."""

from __future__ import annotations

import pytest
import torch

from protocol.exact import (
    NonFinite,
    aggregate,
    amax,
    amin,
    argmax,
    index_sum,
    mean,
    sort,
    sum_,
    topk,
)
from protocol.exact import reductions as engine
from tests.conformance import reference
from tests.support.exact_tensors import (
    INFINITY,
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

SPANS = [(0, 0), (0, 3), (120, 130), (100, 127), (1, 200), (80, 253)]


@pytest.mark.parametrize("exponents", SPANS)
@pytest.mark.parametrize("count", [1, 2, 7, 100, 4096, 4097])
def test_sum_equals_the_reference(exponents: tuple[int, int], count: int) -> None:
    bits = patterns(count, count, exponents)
    assert to_bits(sum_(from_bits(bits))) == [reference.sum_(bits)]


def test_sum_beyond_binary64_rounds_once() -> None:
    # 2^53 + 2^29 + 1 grid units: one above a tie, which binary64 could not tell from the tie.
    bits = [ONE] * 8192 + [0x3A000000, 0x2B800000]
    assert reference.sum_(bits) == reference.rne32(8192 + reference.Fraction(1, 1024))
    assert to_bits(sum_(from_bits(bits))) == [reference.sum_(bits)]
    column = from_bits(bits).reshape(-1, 1)
    got = index_sum(torch.zeros(len(bits), dtype=torch.int64), column, 1)
    assert to_bits(got) == [reference.sum_(bits)]


@pytest.mark.parametrize(
    ("total", "want"),
    [
        ((1 << 60) + (1 << 36), 1 << 60),  # a tie goes to even
        ((1 << 60) + (1 << 36) + 1, (1 << 60) + (1 << 37)),  # one unit above it does not
        ((1 << 60) + 3 * (1 << 36) - 1, (1 << 60) + (1 << 37)),
        (-(1 << 60) - (1 << 36) - 1, -(1 << 60) - (1 << 37)),
        (-(1 << 60) - (1 << 36), -(1 << 60)),
        ((1 << 53) + 1, 1 << 53),
        (0, 0),
    ],
)
def test_wide_integers_convert_with_one_rounding(total: int, want: int) -> None:
    unit = torch.tensor([1.0], dtype=torch.float64)
    got = engine.scaled_to_float32(torch.tensor([total]), unit)
    assert int(got.double().item()) == want


def test_sum_keeps_what_sequential_addition_loses() -> None:
    x = torch.tensor([2.0**24, 1.0, 1.0, -(2.0**24)])
    assert sum_(x).item() == 2.0


def test_sum_drops_what_lies_below_its_grid() -> None:
    x = torch.tensor([1.0, 2.0**-42, -1.0])
    assert sum_(x).item() == 0.0
    assert sum_(torch.tensor([1.0, 2.0**-40, -1.0])).item() == 2.0**-40


def test_sum_does_not_depend_on_order_or_layout() -> None:
    x = from_bits(patterns(3000, 9, (90, 140))).reshape(30, 100)
    want = sum_(x)
    assert same_bits(sum_(x.flip(0, 1)), want)
    assert same_bits(sum_(x.reshape(-1).sort().values), want)
    for view in layouts(x).values():
        assert same_bits(sum_(view), want)
        assert same_bits(sum_(view, 0), sum_(x, 0))
        assert same_bits(sum_(view, [0, 1], keepdim=True), want.reshape(1, 1))


@pytest.mark.parametrize("dim", [0, 1, 2, [0, 1], [0, 2], [1, 2], [-1, 0], None])
def test_sum_over_axes_equals_the_reference(dim: int | list[int] | None) -> None:
    x = from_bits(patterns(60, 4, (110, 135))).reshape(3, 4, 5)
    axes = engine.normalise_dims(dim, 3)
    kept = [d for d in range(3) if d not in axes]
    rows = x.permute(*kept, *axes).reshape(torch.tensor(x.shape)[kept].prod().int().item(), -1)
    want = from_bits([reference.sum_(to_bits(row)) for row in rows])
    assert same_bits(sum_(x, dim).reshape(-1), want)
    kept_shape = [1 if d in axes else n for d, n in enumerate(x.shape)]
    assert list(sum_(x, dim, keepdim=True).shape) == kept_shape


def test_empty_sum_is_positive_zero() -> None:
    assert to_bits(sum_(torch.zeros(0))) == [0]
    assert to_bits(sum_(torch.zeros(2, 0), 1)) == [0, 0]
    assert sum_(torch.zeros(0, 3), 1).shape == (0,)


def test_sum_of_negative_zeros_is_positive_zero() -> None:
    assert to_bits(sum_(from_bits([MINUS_ZERO]))) == [0]
    assert to_bits(sum_(from_bits([[MINUS_ZERO]] * 3), 1)) == [0] * 3
    assert to_bits(sum_(from_bits([MINUS_ZERO] * 3))) == [0]
    assert to_bits(sum_(from_bits([MINUS_ZERO] * 5000))) == [0]


@pytest.mark.parametrize("bits", [NAN, INFINITY, 0xFF800000])
def test_sum_with_a_non_finite_addend_raises(bits: int) -> None:
    with pytest.raises(NonFinite):
        sum_(from_bits([0, bits]))


def test_long_runs_are_cut_where_the_rule_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RUN", 16)
    monkeypatch.setattr("tests.conformance.reference.reductions.RUN", 16)
    for count in (16, 17, 32, 300):
        bits = patterns(count, count, (90, 140))
        want = [reference.sum_(bits)]
        assert to_bits(sum_(from_bits(bits))) == want
        assert to_bits(sum_(from_bits(bits).reshape(1, -1), 1)) == want
        assert to_bits(sum_(from_bits(bits).reshape(-1, 1), [0, 1])) == want
        column = from_bits(bits).reshape(-1, 1)
        assert to_bits(index_sum(torch.zeros(count, dtype=torch.int64), column, 1)) == want


def test_mean_divides_the_sum_once() -> None:
    bits = patterns(7, 3, (120, 130))
    want = reference.div(reference.sum_(bits), reference.rne32(reference.Fraction(7)))
    assert to_bits(mean(from_bits(bits))) == [want]


def test_index_sum_equals_the_reference_per_element() -> None:
    index = torch.tensor([3, 0, 3, 3, 1, 0, 3])
    source = from_bits(patterns(7 * 5, 8, (60, 200))).reshape(7, 5)
    got = index_sum(index, source, 6)
    for row in range(6):
        for column in range(5):
            hits = to_bits(source[index == row][:, column])
            assert to_bits(got[row, column]) == [reference.sum_(hits)]
    order = torch.tensor([6, 2, 0, 5, 4, 1, 3])
    assert same_bits(index_sum(index[order], source[order], 6), got)


def test_aggregate_is_an_exact_mean_in_any_order() -> None:
    results = [from_bits(patterns(6, seed, (100, 140))) for seed in range(5)]
    got = aggregate(results)
    assert same_bits(aggregate(results[::-1]), got)
    five = reference.rne32(reference.Fraction(5))
    for i in range(6):
        column = [to_bits(r)[i] for r in results]
        assert to_bits(got)[i] == reference.div(reference.sum_(column), five)


def test_extrema_return_positive_zero() -> None:
    zeros = from_bits([MINUS_ZERO, MINUS_ZERO])
    assert to_bits(amax(zeros)) == [0]
    assert to_bits(amin(zeros)) == [0]
    tiny = from_bits([SMALLEST | MINUS_ZERO, MINUS_ZERO])
    assert to_bits(amax(tiny)) == [0]
    assert to_bits(amin(tiny)) == [SMALLEST | MINUS_ZERO]


@pytest.mark.parametrize("position", [0, 1, 17, 63])
def test_extrema_with_a_nan_raise(position: int) -> None:
    x = torch.arange(64.0)
    x[position] = float("nan")
    for reduce in (amax, amin, argmax, sort, lambda t: topk(t, 2)):
        with pytest.raises(NonFinite):
            reduce(x)


def test_extrema_admit_infinities() -> None:
    x = torch.tensor([float("-inf"), 1.0, float("inf")])
    assert amax(x).item() == float("inf")
    assert amin(x).item() == float("-inf")


def test_ties_go_to_the_lowest_index() -> None:
    x = from_bits([MINUS_ZERO, 0, MINUS_ZERO, 0])
    assert argmax(x).item() == 0
    assert topk(x, 3)[1].tolist() == [0, 1, 2]
    assert sort(x)[1].tolist() == [0, 1, 2, 3]
    y = torch.tensor([[1.0, 5.0, 5.0], [7.0, 7.0, 7.0]])
    assert argmax(y, 1).tolist() == [1, 0]
    assert argmax(y).item() == 3
    assert topk(y, 2, 1)[1].tolist() == [[1, 2], [0, 1]]
    many = torch.zeros(10_000)
    assert argmax(many).item() == 0
