"""Functions over a fixed stride of all inputs, and what the independent sweep rests on."""

from __future__ import annotations

import json
from fractions import Fraction

import mpmath
import pytest
import torch

from protocol.exact.conformance import function_sweep
from protocol.exact.conformance.runner import kernel_level
from tests.conformance import sweep
from tests.conformance.hard import hard_arguments
from tests.conformance.operands import pattern
from tests.conformance.reference.binary32 import value
from tests.conformance.reference.functions import NAMES, correctly_rounded

CPU = torch.device("cpu")
BELIEVED = 40
"""`sweep.c` believes the C library's binary64 functions to this many bits."""


@pytest.mark.parametrize("name", NAMES)
def test_stride_of_every_implementation_has_the_recorded_hash(name: str) -> None:
    want = function_sweep.recorded_hashes()[257][name]
    for label, setting, evaluate in function_sweep.implementations(name, CPU):
        with kernel_level(setting):
            assert function_sweep.digest(evaluate, 257) == want, label


@pytest.mark.parametrize("name", NAMES)
def test_recorded_stride_hash_is_found_without_the_engine(name: str) -> None:
    found, decided = sweep.digest(name, 257)
    assert found == function_sweep.recorded_hashes()[257][name]
    assert decided > 0  # some results were too near a boundary for binary64


def test_hashes_are_recorded_for_every_function_and_stride() -> None:
    recorded = json.loads(sweep.HASHES.read_text())
    assert {int(stride): set(hashes) for stride, hashes in recorded.items()} == {
        stride: set(NAMES) for stride in function_sweep.COUNTS
    }
    assert function_sweep.NAMES == NAMES
    assert function_sweep.COUNTS == sweep.INPUTS


def test_both_sweeps_take_the_same_inputs() -> None:
    start, count = (1 << 24) - 5, 5  # the last ones have wrapped around
    bits = [n * 257 & 0xFFFFFFFF for n in range(start, start + count)]
    got = function_sweep.inputs(start, count, 257).view(torch.int32).tolist()
    assert [b & 0xFFFFFFFF for b in got] == bits
    results, _ = sweep.stretch("exp", start, 257, count)
    want = b"".join(correctly_rounded("exp", b).to_bytes(4, "little") for b in bits)
    assert results == want


@pytest.mark.parametrize("name", NAMES)
def test_binary64_of_the_c_library_deserves_more_than_its_credit(name: str) -> None:
    arguments = [*hard_arguments(name), *(pattern(201, i, 0, 254) for i in range(1500))]
    arguments += [pattern(202, i, 100, 135) for i in range(1500)]
    evaluate, index = sweep.compiled().binary64, NAMES.index(name)
    tight = Fraction(1, 1 << BELIEVED + 8)
    checked = 0
    for bits in arguments:
        x = value(bits)
        y = evaluate(index, float(x))
        if y != y or y in (float("inf"), float("-inf")) or abs(y) < 2.0**-160:
            continue
        with mpmath.workprec(700):
            true = getattr(mpmath, name)(mpmath.mpf(x.numerator) / x.denominator)
            assert abs(mpmath.mpf(y) - true) <= abs(true) * tight.numerator / tight.denominator
        checked += 1
    assert checked > 800


@pytest.mark.parametrize("name", NAMES)
def test_undecided_results_are_near_a_boundary_and_come_from_mpmath(name: str) -> None:
    for argument in hard_arguments(name)[:20]:
        results, decided = sweep.stretch(name, argument, 1, 1)
        assert decided == 1, "a hard case lies nearer to a boundary than the sweep believes"
        assert int.from_bytes(results, "little") == correctly_rounded(name, argument)
