"""Correctly rounded functions against mpmath: hard cases, a stride of inputs, special values."""

from __future__ import annotations

from collections import Counter

import mpmath
import pytest
import torch

from protocol import exact
from protocol.exact import functions as engine
from tests.conformance import reference
from tests.conformance.reference.functions import NAMES, correctly_rounded
from tests.support.exact_tensors import EDGES, from_bits, layouts, same_bits, to_bits


def canonical(bits: list[int]) -> list[int]:
    return [reference.NAN if b & 0x7FFFFFFF > reference.INFINITY else b for b in bits]


def evaluate(name: str, bits: list[int]) -> list[int]:
    return canonical(to_bits(getattr(exact, name)(from_bits(bits))))


def test_table_holds_all_hard_cases() -> None:
    counts = Counter({name: len(cases) for name, cases in engine.hard_cases().items()})
    want = {"exp": 13, "log": 77, "tanh": 4, "erf": 210, "log1p": 54, "expm1": 14, "sin": 92}
    assert counts == want | {"cos": 100}
    # The detector watches the rounding boundary of normal results only.
    results = [answer for cases in engine.hard_cases().values() for _, answer in cases]
    assert all(answer & 0x7F800000 for answer in results)


@pytest.mark.parametrize("name", NAMES)
def test_hard_cases_are_what_mpmath_says(name: str) -> None:
    for argument, answer in engine.hard_cases()[name]:
        assert correctly_rounded(name, argument) == answer


@pytest.mark.parametrize("name", NAMES)
def test_hard_cases_and_their_neighbours_are_correctly_rounded(name: str) -> None:
    arguments = [a for a, _ in engine.hard_cases()[name]]
    bits = [b for a in arguments for b in (a - 1, a, a + 1) if 0 <= b < 1 << 32]
    assert evaluate(name, bits) == [correctly_rounded(name, b) for b in bits]


@pytest.mark.parametrize("name", NAMES)
def test_stride_of_all_inputs_is_correctly_rounded(name: str) -> None:
    bits = [*EDGES, *range(0x1234, 1 << 32, (1 << 32) // 2003)]
    bits += [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345]
    assert evaluate(name, bits) == [correctly_rounded(name, b) for b in bits]


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_inputs_are_correctly_rounded(name: str) -> None:
    bits = [s | b for s in (0, 1 << 31) for b in range(0x38000000, 0x42C80000, 217_771)]
    assert evaluate(name, bits) == [correctly_rounded(name, b) for b in bits]


@pytest.mark.parametrize("low", [0xC2AEAC00, 0xC2CFF000])
def test_exp_is_correctly_rounded_where_results_turn_subnormal(low: int) -> None:
    bits = list(range(low, low + 0x3000, 37))
    assert evaluate("exp", bits) == [correctly_rounded("exp", b) for b in bits]


def test_float64_alone_is_wrong_on_hard_cases() -> None:
    # Shows that the table is needed: without it at least one of these inputs is misrounded.
    wrong = 0
    for name in NAMES:
        cases = engine.hard_cases()[name]
        naive = getattr(torch, name)(from_bits([a for a, _ in cases]).double()).float()
        wrong += sum(g != w for g, (_, w) in zip(to_bits(naive), cases, strict=True))
    assert wrong > 0


@pytest.mark.parametrize("name", NAMES)
def test_binary64_evaluation_is_within_three_ulp(name: str) -> None:
    bits = [a for a, _ in engine.hard_cases()[name]] + list(range(0x3A000000, 0x42800000, 350_003))
    x = from_bits(bits).double()
    with mpmath.workprec(300):
        for got, argument in zip(getattr(torch, name)(x).tolist(), x.tolist(), strict=True):
            true = getattr(mpmath, name)(mpmath.mpf(argument))
            exponent = mpmath.floor(mpmath.log(abs(true), 2)) if true else -1074
            ulp = mpmath.mpf(2) ** (exponent - 52)
            assert abs(mpmath.mpf(got) - true) <= 3 * ulp, (name, argument)


@pytest.mark.parametrize("name", NAMES)
def test_functions_depend_on_values_not_on_layout(name: str) -> None:
    bits = [a for a, _ in engine.hard_cases()[name]] + list(range(0x3F000000, 0x40000000, 99_991))
    x = from_bits(bits[: len(bits) // 4 * 4]).reshape(4, -1)
    function = getattr(exact, name)
    want = function(x)
    for view in layouts(x).values():
        assert same_bits(function(view), want)
    assert same_bits(function(x[:, :1].expand(4, 7)), want[:, :1].expand(4, 7))
    with exact.exact():
        assert same_bits(getattr(torch, name)(x), want)
