"""The committed vectors are what the reference says, complete, and what this machine computes."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from protocol.exact.conformance import runner, vectors
from protocol.exact.conformance.operations import OPERATIONS
from tests.conformance import make_vectors
from tests.conformance.operands import Case, pattern

LARGE = 1 << 20
"""Cases with more operands than this take the reference seconds each."""

pytestmark = pytest.mark.slow

RECORDED = make_vectors.recorded()


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(make_vectors.cases())


def size(case: Case) -> int:
    return sum(len(x.values) for x in case.inputs)


def test_file_names_the_same_cases_as_the_generator(cases: list[Case]) -> None:
    assert [case.name for case in cases] == list(RECORDED)
    assert make_vectors.FILE.stat().st_size < 3_000_000


def test_recorded_answers_come_from_the_reference(cases: list[Case]) -> None:
    small = [case for case in cases if size(case) < LARGE]
    assert len(small) > 650
    for case in small:
        assert json.loads(make_vectors.line(case)) == RECORDED[case.name], case.name


def test_recorded_answer_of_the_longest_run_comes_from_the_reference(cases: list[Case]) -> None:
    [case] = [case for case in cases if case.name == "sum/2097153 drawn"]
    assert json.loads(make_vectors.line(case)) == RECORDED[case.name]


def test_every_operation_has_cases_and_every_case_an_operation() -> None:
    counts = Counter(case["operation"] for case in RECORDED.values())
    assert set(counts) == set(OPERATIONS)
    assert min(counts.values()) >= 1
    endings = Counter(case["expected"] == "NONFINITE" for case in RECORDED.values())
    assert endings[True] > 50


def test_recipe_draws_alike_on_both_sides() -> None:
    written = {"type": "float32", "shape": [1000]}
    for seed, low, high in ((0, 0, 254), (77, 100, 140), (1 << 23, 3, 3)):
        recipe = {"recipe": {"seed": seed, "low": low, "high": high}}
        words = list(vectors.elements(vectors.decode(written | recipe)))
        assert words == [f"{pattern(seed, i, low, high):08x}" for i in range(1000)]


def test_this_machine_computes_every_vector() -> None:
    loaded = vectors.load()
    outcomes = runner.run(loaded, torch.device("cpu"), [1], lambda _: None)
    assert [difference for o in outcomes for difference in o.differing] == []
    assert {o.way for o in outcomes} >= {"route float64", "route int8", "row kernels off"}
    products = sum(case.operation == "gemm" for case in loaded)
    for outcome in outcomes:
        whole = products if outcome.way.startswith("route") else len(loaded)
        assert outcome.equal + outcome.left_out == whole
        if not outcome.way.startswith("route kernels"):
            assert outcome.left_out == 0
