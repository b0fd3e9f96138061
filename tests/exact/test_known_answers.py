"""The self-test's constants come from the reference, and a wrong route is switched off."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol.exact import (
    FlushToZero,
    Profile,
    RouteUnavailable,
    SelfTestFailed,
    exact,
    gemm,
    known_answers,
    route_choice,
    routes,
    selftest,
    tensor_root,
)
from protocol.exact.contraction import BlockedRoute, Float64Route
from tests.conformance import reference
from tests.conformance.reference.functions import NAMES, correctly_rounded
from tests.exact.test_families import ROOTS
from tests.support.exact_families import root
from tests.support.exact_tensors import from_bits, to_bits


class WrongRoute:
    """A route whose products are off by one unit in a single place."""

    name = "int8"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        result = Float64Route().gemm(a, b, profile)
        result.view(torch.int32)[-1, -1] += 1
        return result


class PairwiseRoute(BlockedRoute):
    """int8 products as processors without VNNI make them: vpmaddubsw, then vpmaddwd.

    Bytes of A become unsigned (+128); products of neighbours are added in 16 bits, where the
    instruction saturates. `saturates=False` is the same arithmetic with room enough.
    """

    name = "int8"

    def __init__(self, saturates: bool) -> None:
        self.saturates = saturates

    def product(self, qa: Tensor, qb: Tensor, profile: Profile) -> Tensor:
        size = 1 << profile.b // 2
        (ah, al), (bh, bl) = (
            ((q + size / 2).div(size).floor(), (q + size / 2).remainder(size) - size / 2)
            for q in (qa, qb)
        )
        high, low = self.bytes_product(ah, bh), self.bytes_product(al, bl)
        cross = self.bytes_product(ah + al, bh + bl) - high - low  # three products, not four
        return (high * size + cross) * size + low

    def bytes_product(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = a.double(), b.double()
        if a.shape[-1] % 2:
            a, b = F.pad(a, (0, 1)), F.pad(b, (0, 0, 0, 1))
        columns = b.unsqueeze(-3)  # [..., 1, K, N]
        pairs = ((a + 128).unsqueeze(-1) * columns).unflatten(-2, (-1, 2)).sum(-2)
        if self.saturates:
            pairs = pairs.clamp(-(2**15), 2**15 - 1)
        return pairs.sum(-2) - 128 * b.sum(-2).unsqueeze(-2)


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    """Nothing is known about routes at the test's beginning, and nothing of it stays."""
    _forget()
    yield
    _forget()


def _forget() -> None:
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
    assert list(routes()) == [route.name for route in route_choice.ROUTES]
    assert list(routes())[:3] == ["kernels-amx", "kernels-vnni", "kernels-avx2"]
    assert set(list(routes())[3:5]) == {"float64", "int8"}


def test_wrong_route_is_switched_off_and_binary64_serves(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(route_choice, "ROUTES", (WrongRoute(), Float64Route()))
    with caplog.at_level(logging.WARNING):
        for name in (None, "int8"):
            assert route_choice.choose_route(name, Profile()).name == "float64"
    assert "int8 is switched off" in caplog.text
    assert routes() == {"int8": False, "float64": True}


def test_saturating_int8_kernel_is_switched_off_and_the_step_keeps_its_root(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known_answers.check_gemm(PairwiseRoute(saturates=False), Profile())
    saturating = PairwiseRoute(saturates=True)
    with pytest.raises(SelfTestFailed, match="route int8"):
        known_answers.check_gemm(saturating, Profile())
    monkeypatch.setattr(route_choice, "ROUTES", (saturating, Float64Route()))
    with caplog.at_level(logging.WARNING):
        assert root("tied weights", "int8") == ROOTS["tied weights"]
    assert "int8 is switched off" in caplog.text
    assert routes() == {"int8": False, "float64": True}


def test_route_that_saturates_would_show_in_the_step(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the test above cannot pass because the kernel happens to be right on this step.
    monkeypatch.setattr(route_choice, "ROUTES", (PairwiseRoute(saturates=True), Float64Route()))
    monkeypatch.setattr(known_answers, "check_gemm", lambda *_: None)
    assert root("tied weights", "int8") != ROOTS["tied weights"]


def test_thread_that_flushes_subnormals_is_refused_while_others_compute() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush subnormal numbers")
    caught: list[BaseException | None] = []
    flushing, done = threading.Event(), threading.Event()

    def worker() -> None:
        torch.set_flush_denormal(True)
        flushing.set()
        try:
            with exact():
                caught.append(None)
        except FlushToZero as error:
            caught.append(error)
        done.wait()

    thread = threading.Thread(target=worker)
    thread.start()
    try:
        flushing.wait()
        assert root("tied weights") == ROOTS["tied weights"]
    finally:
        done.set()
        thread.join()
    assert isinstance(caught[0], FlushToZero)
    assert "set_flush_denormal(False)" in str(caught[0])


def test_machine_without_a_right_route_is_refused(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_choice, "ROUTES", (WrongRoute(),))
    monkeypatch.setattr(WrongRoute, "name", "float64")
    with pytest.raises(SelfTestFailed, match="no GEMM route"):
        gemm(torch.ones(2, 2), torch.ones(2, 2))


def test_wrong_function_is_noticed(fresh_choice: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_answers.FUNCTION_ANSWERS, "exp", "00" * 32)
    with pytest.raises(SelfTestFailed, match="exp"):
        selftest()


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
