"""Row kernels: the composition's bits on every operand, level and thread count."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from protocol.exact import (
    AdamWRow,
    ExactError,
    KernelsUnavailable,
    compositions,
    functions,
    hard_cases,
    optimiser,
    reductions,
)
from protocol.exact.kernels import fused, library, rows, samples
from protocol.exact.kernels.library import Level
from tests.support.exact_tensors import EDGES, from_bits, layouts, patterns

ROW = AdamWRow(0.9999, 0.9, 0.1, 0.999, 0.001, 0.01, 31.622776, 1e-8)
NAN, INFINITY = 0x7FC00000, 0x7F800000


def allow(level: Level, monkeypatch: pytest.MonkeyPatch) -> Level:
    """Cap the kernels at `level`, or skip where the machine does not get so far."""
    try:
        here = min(library.library().level, library.best_level())
    except KernelsUnavailable as unavailable:
        pytest.skip(str(unavailable))
    if level > here:
        pytest.skip(f"this processor, or {library.SWITCH}, has no {level.name}")
    monkeypatch.setenv(library.SWITCH, level.name.lower())
    return level


@pytest.fixture(params=list(Level), ids=lambda level: level.name.lower())
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Level:
    return allow(request.param, monkeypatch)


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest, level: Level) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def operand(count: int, seed: int, exponents: tuple[int, int], *shape: int) -> Tensor:
    return from_bits(patterns(count, seed, exponents)).reshape(shape or (count,))


def words(t: Tensor) -> Tensor:
    """Bits, every NaN as the same one."""
    return torch.where(t.isnan(), NAN, t.contiguous().view(torch.int32))


def outcome(function: Callable[..., Any], *arguments: Any) -> list[Tensor] | str:
    try:
        result = function(*arguments)
    except ExactError as error:
        return str(error)
    return [words(t) for t in (result if isinstance(result, tuple) else (result,))]


def assert_same(function: Callable[..., Any], *arguments: Any) -> None:
    """With kernels and without: the same bits, or the same error."""
    got = outcome(function, *arguments)
    with fused.compositions_only():
        want = outcome(function, *arguments)
    if isinstance(want, str):
        assert got == want
    else:
        assert not isinstance(got, str), got
        assert all(map(torch.equal, got, want))


def test_every_kernel_passes_its_self_test(threads: int, level: Level) -> None:
    assert set(fused.KERNELS) == set(samples._SAMPLES)
    fused.passes.cache_clear()
    assert {n for n in fused.KERNELS if not fused.passes(n, level, threads)} == set()


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_kernel_function_equals_the_composition_on_strided_patterns(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2^24 patterns spread over all binary32, the hard cases in front.
    allow(Level.SCALAR, monkeypatch)
    kernel, function = getattr(rows, name), getattr(functions, name)
    hard = torch.tensor([argument for argument, _ in hard_cases.hard_cases()[name]])
    index = torch.arange(1 << 21, dtype=torch.int64)
    for part in range(8):
        bits = ((index + (part << 21)) * 256 + 7 * part + 3) & 0xFFFFFFFF
        x = torch.cat([hard, bits]).to(torch.int32).view(torch.float32)
        with fused.compositions_only():
            want = words(function(x))
        for level in (level for level in Level if level <= library.library().level):
            monkeypatch.setenv(library.SWITCH, level.name.lower())
            assert torch.equal(words(kernel(x)), want)


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_kernel_function_takes_any_layout_and_special_values(name: str, threads: int) -> None:
    function = getattr(functions, name)
    special = from_bits([*EDGES, NAN, INFINITY, 0xFF800000, 0x42B17218, 0xC2CFF1B4])
    assert_same(function, special)
    for x in layouts(operand(600, 1, (90, 135), 20, 30)).values():
        assert_same(function, x)
    assert_same(function, torch.empty(0, 3))
    assert_same(function, torch.tensor(0.5))


@pytest.mark.parametrize("n", [1, 2, 15, 64, 257, 1000])
@pytest.mark.parametrize("exponents", [(0, 0), (0, 20), (100, 140), (1, 254)])
def test_row_kernels_equal_the_compositions(
    threads: int, n: int, exponents: tuple[int, int]
) -> None:
    x, g = operand(37 * n, n, exponents, 37, n), operand(37 * n, n + 1, exponents, 37, n)
    for function in (compositions.softmax, compositions.log_softmax):
        assert_same(function, x, -1)
    for function in (compositions.softmax_backward, compositions.log_softmax_backward):
        assert_same(function, g, x, 1)
    for dim in (0, 1, None, [0, 1]):
        assert_same(reductions.sum_, x, dim, True)
    w, b = g[0].clone(), g[1].clone()
    for weight, bias in ((w, b), (w, None), (None, None)):
        assert_same(compositions.layer_norm, x, [n], weight, bias, 1e-5)
        mu, r = x[:, :1].clone(), g[:, :1].abs()
        assert_same(compositions.layer_norm_backward, g, x, [n], mu, r, weight)


@pytest.mark.parametrize("exponents", [(0, 30), (100, 130), (1, 254)])
def test_elementwise_kernels_equal_the_compositions(
    threads: int, exponents: tuple[int, int]
) -> None:
    x, g = (operand(40_000, seed, exponents, 200, 200) for seed in (1, 2))
    x[0, 100:104] = from_bits([NAN, INFINITY, 0xFF800000, 0x80000000])
    for function in (compositions.silu, compositions.gelu):
        assert_same(function, x)
        assert_same(function, x.t())
    assert_same(compositions.gelu, x, "tanh")
    assert_same(compositions.silu_backward, g, x)
    assert_same(compositions.gelu_backward, g, x, "tanh")
    assert_same(compositions.gelu_backward, g.t(), x, "tanh")
    assert_same(optimiser.adamw, x, g, g.t(), x.abs(), ROW)


@pytest.mark.parametrize("bad", [NAN, INFINITY, 0xFF800000])
@pytest.mark.parametrize("row", [0, 36])
def test_row_kernels_report_what_the_compositions_report(threads: int, bad: int, row: int) -> None:
    x, g = operand(37 * 50, 3, (110, 130), 37, 50), operand(37 * 50, 4, (110, 130), 37, 50)
    x[row, 7] = from_bits([bad])[0]
    for function in (compositions.softmax, compositions.log_softmax):
        assert_same(function, x, 1)
    for function in (compositions.softmax_backward, compositions.log_softmax_backward):
        assert_same(function, g, x, 1)
        assert_same(function, x, g, 1)
    assert_same(reductions.sum_, x, 0)
    assert_same(reductions.sum_, x, 1)
    assert_same(compositions.layer_norm, x, [50], None, None, 1e-5)
    assert_same(
        compositions.layer_norm_backward, x, g, [50], g[:, :1].clone(), g[:, 1:2].clone(), None
    )
    assert_same(reductions.index_sum, torch.arange(37) % 5, x, 6)


def test_softmax_of_a_masked_row_equals_the_composition(threads: int) -> None:
    x = operand(40 * 30, 5, (110, 130), 40, 30)
    x = x.masked_fill(torch.ones(40, 30, dtype=torch.bool).triu(1), -torch.inf)
    assert_same(compositions.softmax, x, 1)
    x[3] = -torch.inf
    assert_same(compositions.softmax, x, 1)  # NonFinite, from both


@pytest.mark.parametrize("inner", [1, 3, 63, 64, 65, 200])
def test_sums_over_a_middle_axis_equal_the_composition(threads: int, inner: int) -> None:
    x = operand(5 * 11 * inner, inner, (100, 150), 5, 11, inner)
    for view in (x, x.transpose(0, 1), x.transpose(1, 2), x[:, ::2], x[:1].expand(4, 11, inner)):
        for dim in (0, 1, 2, [0, 2]):
            assert_same(reductions.sum_, view, dim)


def test_long_sums_round_once_beyond_53_bits(threads: int) -> None:
    # 2^54 + 2^30 + 1 units: binary64 would drop the 1 and leave a tie.
    x = torch.ones(3, (1 << 14) + 2)
    x[:, -2:] = torch.tensor([2.0**-10, 2.0**-40])
    want = from_bits([0x46800001] * 3)
    assert torch.equal(rows.sum_run(x, 1), want)
    assert torch.equal(rows.sum_run(x.t().contiguous(), 0), want)
    assert torch.equal(rows.sum_run(-x, 1), -want)


def test_rows_longer_than_an_exact_sum_are_left_to_the_composition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow(Level.SCALAR, monkeypatch)
    x = torch.full((1, (1 << 21) + 5), 1.0)
    assert rows.softmax(x, 1) is None
    assert rows.log_softmax_backward(x, x, 1) is None
    assert rows.layer_norm(x, [x.numel()], None, None, 1e-5) is None
    weights = torch.ones(1)
    tall = x.reshape(-1, 1)
    assert rows.layer_norm_backward(tall, tall, [1], tall, tall, weights) is None


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_kernel_functions_look_hard_cases_up(level: Level, name: str) -> None:
    # The evaluation happens to round them right, so a table of wrong answers shows it is used.
    cases = hard_cases.hard_cases()[name]
    x = from_bits([argument for argument, _ in cases] * 40)
    assert torch.equal(words(getattr(rows, name)(x)), words(from_bits([a for _, a in cases] * 40)))
    poisoned = [word for argument, _ in cases for word in (argument, 0x40A00000)]
    table = (ctypes.c_uint32 * len(poisoned))(*poisoned)
    hand_over = library.library()._dll.gradproof_hard_cases
    try:
        hand_over(("exp", "tanh").index(name), table, ctypes.c_int64(len(cases)))
        assert getattr(rows, name)(x).eq(5.0).all()
    finally:
        number = ("exp", "tanh").index(name)
        library.library()._tables[number] = library.library()._hand_over(number, name)


@pytest.mark.parametrize("width", [8, 64, 100])
def test_scattered_sums_equal_the_composition(threads: int, width: int) -> None:
    index = torch.tensor([3, 0, 3, 3, 9, 0, 700, 3])
    for exponents in ((0, 3), (100, 150), (1, 254)):
        source = operand(8 * width, width, exponents, 8, width)
        assert_same(reductions.index_sum, index, source, 701)
    assert_same(reductions.index_sum, index, source[:, :3], 701)


@pytest.mark.parametrize("name", ["softmax", "sum_run", "exp", "adamw"])
def test_wrong_kernel_is_switched_off(
    level: Level, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    kernel, composition = fused.KERNELS[name]

    def off_by_one_unit(*arguments: Any) -> Any:
        result = kernel(*arguments)
        first = result[0] if isinstance(result, tuple) else result
        first.view(torch.int32).view(-1)[0] += 1
        return result

    monkeypatch.setitem(fused.KERNELS, name, (off_by_one_unit, composition))
    fused.passes.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert not fused.serves(name)
        assert f"kernel {name}" in caplog.text
    finally:
        fused.passes.cache_clear()


def test_kernels_do_not_serve_when_switched_off(
    level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fused.serves("exp")
    monkeypatch.setenv(library.SWITCH, "off")
    assert not fused.serves("exp")
