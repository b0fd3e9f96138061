"""The command notices one wrong bit, names it, and ends with another status than 0."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from protocol.exact import Profile, functions
from protocol.exact.conformance import __main__ as command
from protocol.exact.conformance import runner, vectors
from protocol.exact.contraction import Float64Route
from protocol.exact.errors import KernelsUnavailable, SelfTestFailed
from protocol.exact.kernels import fused
from protocol.exact.kernels.library import SWITCH
from tests.support.exact_tensors import MINUS_ZERO, from_bits

VECTORS_ONLY = ["--functions", "none", "--threads", "1"]


class WrongRoute:
    """Off by one unit in the last element."""

    name = "wrong"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        result = Float64Route().gemm(a, b, profile)
        if result.numel():
            result.view(torch.int32).view(-1)[-1] += 1
        return result


class AbsentRoute:
    """A route that this machine lacks."""

    name = "absent"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        raise KernelsUnavailable("no such unit\nand more lines of it")


class FailingRoute:
    """A route that ends with an error."""

    name = "failing"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        raise SelfTestFailed("it lies")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[vectors.Case]:
    """Three small products instead of all vectors, and no row kernels."""
    names = ("gemm/b=14 kb=256 K=2", "gemm/b=16 kb=512 K=511", "gemm/b=14 kb=1024 K=0")
    chosen = [case for case in vectors.load() if case.name in names]
    monkeypatch.setattr(vectors, "load", lambda: chosen)
    monkeypatch.setattr(runner, "row_settings", lambda _: [])
    return chosen


def use(monkeypatch: pytest.MonkeyPatch, *routes: object) -> None:
    monkeypatch.setattr(runner, "routes_of", lambda _: routes)


def test_right_route_conforms(
    few: list[vectors.Case], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Float64Route(), AbsentRoute())
    assert command.main(VECTORS_ONLY) == 0
    lines = capsys.readouterr().out.splitlines()
    [right] = [line.split() for line in lines if line.startswith("route float64")]
    assert right[2:6] == ["1", "3", "0", "0"]
    [absent] = [line for line in lines if line.startswith("route absent")]
    assert absent.split()[2:6] == ["1", "0", "3", "0"]
    assert absent.endswith("no such unit")


def test_wrong_bit_is_named_with_route_case_and_element(
    few: list[vectors.Case], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, WrongRoute())
    assert command.main(VECTORS_ONLY) == 1
    told = capsys.readouterr().err
    want = few[[c.name for c in few].index("gemm/b=14 kb=256 K=2")].expected
    assert not isinstance(want, str)
    right = want[0]["bits"][-8:]
    assert "route wrong, 1 threads: gemm/b=14 kb=256 K=2: result 0, element [2, 3]: " in told
    assert f"expected {right}, got {int(right, 16) + 1:08x}" in told


def test_failing_route_does_not_conform(
    few: list[vectors.Case], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FailingRoute())
    assert command.main(VECTORS_ONLY) == 1
    assert "it lies" in capsys.readouterr().err


def test_function_with_one_wrong_result_does_not_conform(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = functions.log

    def wrong(x: Tensor) -> Tensor:
        result = right(x)
        result.view(torch.int32)[x.view(torch.int32) == 257 * 1_000_000] += 1
        return result

    monkeypatch.setattr(functions, "log", wrong)
    arguments = ["--no-vectors", "--stride", "257", "--functions", "log"]
    assert command.main(arguments) == 1
    assert "First difference: log, PyTorch: hash" in capsys.readouterr().err


def test_kernel_that_its_self_test_switched_off_does_not_conform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "row_settings", lambda _: ["off", "on"])
    monkeypatch.setattr(fused, "serves", lambda name: name != "softmax")
    outcomes = runner.run([], torch.device("cpu"), [1], lambda _: None)
    differing = {o.way: o.differing for o in outcomes if o.way.startswith("row")}
    assert differing["row kernels off"] == []
    assert differing["row kernels on"] == ["kernel softmax: its self-test switched it off"]


def test_run_leaves_threads_and_setting_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "row_settings", lambda _: [])
    before = torch.get_num_threads()
    for setting in ("scalar", None):
        monkeypatch.delenv(SWITCH, raising=False)
        if setting:
            monkeypatch.setenv(SWITCH, setting)
        runner.run([], torch.device("cpu"), [before + 1], lambda _: None)
        assert os.environ.get(SWITCH) == setting
        assert torch.get_num_threads() == before


def case(*expected: dict[str, object]) -> vectors.Case:
    return vectors.Case("a case", "add", {}, [], expected)


def test_comparison_sees_every_bit_but_not_what_nan_it_is() -> None:
    one = {"type": "float32", "shape": [2], "bits": "7fc0000000000000"}
    assert case(one).difference([from_bits([0xFFC12345, 0])]) is None
    minus = case(one).difference([from_bits([0x7FC00000, MINUS_ZERO])])
    assert minus == "result 0, element [1]: expected 00000000, got 80000000"
    shape = case(one).difference([from_bits([[0x7FC00000, 0]])])
    assert shape == "result 0: expected float32[2], got torch.float32[1, 2]"
    dtype = case(one).difference([torch.zeros(2, dtype=torch.int64)])
    assert dtype is not None
    assert "torch.int64" in dtype
    assert case(one).difference([]) == "expected 1 results, got 0"
    assert case(one).difference(vectors.NONFINITE) == "expected results, got NONFINITE"
    root = {"type": "float32", "shape": [2], "root": "00" * 32}
    wrong = case(root).difference([from_bits([0, 0])])
    assert wrong is not None
    assert wrong.startswith(f"result 0: expected {'00' * 32}, got ")
    outcome = vectors.Case("a case", "add", {}, [], vectors.NONFINITE)
    assert outcome.difference([]) == "expected NONFINITE, got results"
    assert outcome.difference(vectors.NONFINITE) is None
