"""The self-test's constants come from the reference, and a wrong route is switched off."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from protocol.exact import (
    Profile,
    RouteUnavailable,
    SelfTestFailed,
    gemm,
    known_answers,
    route_choice,
    routes,
    selftest,
    tensor_root,
)
from protocol.exact.contraction import Float64Route
from tests.support import exact_reference as reference
from tests.support.exact_functions import NAMES, correctly_rounded
from tests.support.exact_tensors import from_bits, to_bits


class WrongRoute:
    """A route whose products are off by one unit in a single place."""

    name = "int8"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        result = Float64Route().gemm(a, b, profile)
        result.view(torch.int32)[-1, -1] += 1
        return result


@pytest.fixture
def fresh_choice() -> None:
    route_choice._passes.cache_clear()
    route_choice._chosen.cache_clear()


@pytest.mark.parametrize(("b", "kb"), known_answers.GEMM_ANSWERS)
def test_gemm_answers_come_from_the_reference(b: int, kb: int) -> None:
    left, right = known_answers.gemm_operands()
    rows, columns = [to_bits(r) for r in left], [to_bits(r) for r in right]
    want = from_bits(reference.gemm(rows, columns, b, kb))
    assert known_answers.GEMM_ANSWERS[b, kb] == tensor_root(want).hex()


def test_sum_answer_comes_from_the_reference() -> None:
    left, _ = known_answers.gemm_operands()
    want = from_bits([reference.sum_(to_bits(row)) for row in left])
    assert tensor_root(want).hex() == known_answers.SUM_ANSWER


@pytest.mark.parametrize("name", NAMES)
def test_function_answers_come_from_mpmath(name: str) -> None:
    bits = to_bits(known_answers.function_operand(name))
    want = from_bits([correctly_rounded(name, b) for b in bits])
    assert known_answers.FUNCTION_ANSWERS[name] == tensor_root(want).hex()


def test_self_test_reports_the_routes() -> None:
    assert selftest() == routes()
    kernels = {"kernels-vnni", "kernels-avx2", "kernels-scalar"}
    assert set(routes()) == {"int8", "float64"} | kernels


def test_wrong_route_is_switched_off_and_binary64_serves(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(route_choice, "ROUTES", (WrongRoute(), Float64Route()))
    with caplog.at_level(logging.WARNING):
        for name in (None, "int8"):
            assert route_choice.choose_route(name, Profile()).name == "float64"
    assert "int8 is switched off" in caplog.text
    assert routes() == {"int8": False, "float64": True}
    route_choice._passes.cache_clear()
    route_choice._chosen.cache_clear()


def test_machine_without_a_right_route_is_refused(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_choice, "ROUTES", (WrongRoute(),))
    monkeypatch.setattr(WrongRoute, "name", "float64")
    with pytest.raises(SelfTestFailed, match="no GEMM route"):
        gemm(torch.ones(2, 2), torch.ones(2, 2))
    route_choice._passes.cache_clear()
    route_choice._chosen.cache_clear()


def test_wrong_function_is_noticed(fresh_choice: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_answers.FUNCTION_ANSWERS, "exp", "00" * 32)
    with pytest.raises(SelfTestFailed, match="exp"):
        selftest()
    route_choice._chosen.cache_clear()


def test_environment_names_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADPROOF_EXACT_ROUTE", "float64")
    route_choice._route_from_environment.cache_clear()
    try:
        assert route_choice.choose_route(None, Profile()).name == "float64"
        assert route_choice.choose_route("int8", Profile()).name in {"int8", "float64"}
    finally:
        route_choice._route_from_environment.cache_clear()


def test_unknown_route_is_refused() -> None:
    with pytest.raises(RouteUnavailable):
        route_choice.choose_route("fp8", Profile())


def test_importing_the_engine_does_not_import_transformers() -> None:
    program = "import sys, protocol.exact; sys.exit('transformers' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
