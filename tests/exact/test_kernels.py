"""Native GEMM kernels: the bits of the composition at every level, and wrong ones are found out."""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from protocol.exact import (
    FlushToZero,
    KernelsUnavailable,
    NonFinite,
    Profile,
    exact,
    route_choice,
    routes,
)
from protocol.exact.contraction import Float64Route
from protocol.exact.kernels import build, library
from protocol.exact.kernels.gemm_route import KernelRoute
from protocol.exact.kernels.library import Level, Library
from tests.support.exact_tensors import from_bits, layouts, patterns, same_bits

REPOSITORY = Path(__file__).parents[2]
REFERENCE = Float64Route()
PYTORCH = next(r.name for r in route_choice.ROUTES if not isinstance(r, KernelRoute))
"""The fastest route of this machine that needs no compiler."""


def level_or_skip(level: Level) -> Level:
    try:
        here = library.best_level()
    except KernelsUnavailable as unavailable:
        pytest.skip(str(unavailable))
    if level > here:
        pytest.skip(f"this processor, or {library.SWITCH}, has no {level.name}")
    return level


@pytest.fixture(params=list(Level), ids=lambda level: level.name.lower())
def route(request: pytest.FixtureRequest) -> KernelRoute:
    return KernelRoute(level_or_skip(request.param))


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    def clear() -> None:
        route_choice._passes.cache_clear()
        route_choice._chosen.cache_clear()

    clear()
    yield
    clear()


def operand(rows: int, columns: int, seed: int, exponents: tuple[int, int]) -> Tensor:
    return from_bits(patterns(rows * columns, seed, exponents)).reshape(rows, columns)


# GEMM -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kb", [256, 512, 1024])
@pytest.mark.parametrize(
    ("m", "k", "n", "exponents"),
    [
        (1, 1, 1, (1, 254)),
        (1, 70, 40, (100, 140)),  # one row
        (33, 40, 17, (1, 254)),  # every scale; products that overflow and underflow
        (9, 33, 31, (0, 12)),  # subnormal rows: scales beyond binary32
        (8, 64, 16, (60, 70)),  # results that are subnormal
        (17, 255, 15, (110, 140)),
        (16, 256, 16, (110, 140)),
        (7, 257, 33, (110, 140)),  # one term in a block of its own
        (40, 1023, 24, (110, 140)),
        (25, 1025, 50, (110, 140)),
        (5, 2051, 3, (100, 130)),
    ],
)
def test_kernel_gemm_equals_the_composition(
    route: KernelRoute, threads: int, kb: int, m: int, k: int, n: int, exponents: tuple[int, int]
) -> None:
    a, b = operand(m, k, m, exponents), operand(k, n, n + 1, exponents)
    profile = Profile(kb=kb)
    assert same_bits(route.gemm(a, b, profile), REFERENCE.gemm(a, b, profile))


def test_kernel_gemm_of_tiny_by_huge_equals_the_composition(route: KernelRoute) -> None:
    # Scales up to 2^138, beyond binary32, that still matter to the result.
    tiny, huge = operand(20, 40, 1, (0, 11)), operand(40, 20, 2, (240, 254))
    for a, b in ((tiny, huge), (huge.t(), tiny.t())):
        want = REFERENCE.gemm(a, b, Profile())
        assert want.count_nonzero() > 300
        assert same_bits(route.gemm(a, b, Profile()), want)


@pytest.mark.parametrize("value", [8128 / 8192, 1.0 - 2.0**-24, -1.0, 63.5 / 128, 8191.5 / 8192])
def test_kernel_gemm_survives_extreme_digits(route: KernelRoute, value: float) -> None:
    a = torch.full((24, 1024), value)
    a[1::2] *= -1
    b = torch.full((1024, 40), -value)
    for profile in (Profile(), Profile(b=16)):
        assert same_bits(route.gemm(a, b, profile), REFERENCE.gemm(a, b, profile))


@pytest.mark.parametrize("q", [2400, 2449, 2450, 2600, 2900, 4100])
@pytest.mark.parametrize("bits", [14, 16])
def test_kernel_gemm_at_the_edge_of_int32_is_exact(route: KernelRoute, bits: int, q: int) -> None:
    # Equal vectors meet the bound of Cauchy and Schwarz: 358 q^2 exceeds 2^31 from q = 2450 on.
    profile = Profile(b=bits)
    a, b = torch.full((24, 1024), q / 8192), torch.full((1024, 40), q / 8192)
    a[:, 0], a[:, 1] = 8191 / 8192, 0.0  # the largest element, which makes q an integer of 14 bits
    b[0], b[1] = 0.0, 8191 / 8192
    a[::3, 500:] *= -1
    for left, right in ((a, b), (a, -b), (a[:, :360], b[:360])):
        want = REFERENCE.gemm(left, right, profile)
        assert same_bits(route.gemm(left, right, profile), want)


def test_kernel_gemm_rounds_ties_of_operands_to_even(route: KernelRoute) -> None:
    units = torch.arange(-4096, 4096, dtype=torch.float32) + 0.5  # all ties, one column each
    a = torch.ones(1, 2)
    b = torch.stack([units * 2.0**-12, torch.full_like(units, 1.0)])
    assert same_bits(route.gemm(a, b, Profile()), REFERENCE.gemm(a, b, Profile()))


def test_kernel_gemm_result_zero_is_positive(route: KernelRoute) -> None:
    a = torch.full((2, 3), -0.0)
    a[1] = from_bits([0x80000001])  # its products underflow to a negative zero
    b = from_bits([[1, 0x3F800000]] * 3)
    got = route.gemm(a, b, Profile())
    assert same_bits(got, REFERENCE.gemm(a, b, Profile()))
    assert not torch.signbit(got[:, 0]).any()


def test_kernel_gemm_depends_on_values_not_on_layout(route: KernelRoute, threads: int) -> None:
    a, b = operand(35, 48, 3, (100, 130)), operand(48, 37, 4, (100, 130))
    want = REFERENCE.gemm(a, b, Profile())
    for left in layouts(a).values():
        for right in layouts(b).values():
            assert same_bits(route.gemm(left, right, Profile()), want)
    assert same_bits(route.gemm(a[:1].expand(35, 48), b, Profile()), want[:1].expand(35, 37))


@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("size", [(5, 7, 6), (40, 64, 33)])
def test_kernel_gemm_of_batches_equals_the_composition(
    route: KernelRoute, threads: int, batch: int, size: tuple[int, int, int]
) -> None:
    m, k, n = size
    a = operand(batch * m, k, 5, (100, 130)).reshape(batch, m, k)
    b = operand(batch * n, k, 6, (100, 130)).reshape(batch, n, k).transpose(1, 2)
    want = REFERENCE.gemm(a, b, Profile())
    assert same_bits(route.gemm(a, b, Profile()), want)
    assert same_bits(route.gemm(a, b[:1].expand_as(b), Profile())[0], want[0])


def test_kernel_gemm_of_nothing_is_positive_zero(route: KernelRoute) -> None:
    for a, b in (
        (torch.ones(2, 0), torch.ones(0, 3)),
        (torch.ones(0, 4), torch.ones(4, 3)),
        (torch.ones(0, 2, 4), torch.ones(0, 4, 3)),
    ):
        assert same_bits(route.gemm(a, b, Profile()), REFERENCE.gemm(a, b, Profile()))


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800000, 0xFF800000, 0x7F800001])
@pytest.mark.parametrize("side", [0, 1])
def test_kernel_gemm_with_a_non_finite_operand_raises(
    route: KernelRoute, threads: int, bits: int, side: int
) -> None:
    for position in (0, 40 * 70 - 1):
        operands = [torch.ones(40, 70), torch.ones(70, 40)]
        operands[side].view(-1)[position] = from_bits([bits])[0]
        with pytest.raises(NonFinite):
            route.gemm(*operands, Profile())


@pytest.mark.parametrize("kb", [256, 1024])
def test_kernel_gemm_of_sixteen_bits_equals_the_composition(
    route: KernelRoute, threads: int, kb: int
) -> None:
    profile = Profile(b=16, kb=kb)
    a, b = operand(40, 1100, 1, (110, 130)), operand(1100, 50, 2, (110, 130))
    a[0], b[:, 0] = 1.9999999, -1.9999999  # the largest q, in every place
    for left, right in ((a, b), (a.t().contiguous().t(), b.t().contiguous().t())):
        assert same_bits(route.gemm(left, right, profile), REFERENCE.gemm(left, right, profile))
    assert routes(profile)[route.name]


# Self-tests -------------------------------------------------------------------------------------


def edited_sources(folder: Path, file: str, old: str, new: str) -> Path:
    folder.mkdir()
    for source in build.SOURCES.iterdir():
        text = source.read_text()
        if source.name == file:
            assert old in text
            text = text.replace(old, new)
        (folder / source.name).write_text(text)
    return folder


def test_saturating_kernel_is_switched_off(
    tmp_path: Path,
    fresh_choice: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Pair sums that saturate one bit too early: only the largest operands show it.
    level_or_skip(Level.VNNI)
    monkeypatch.setenv(library.SWITCH, "vnni")
    product = "add_products(s[r][p], a, b[p]);"
    limited = (
        "s[r][p] = _mm512_add_epi32(s[r][p], _mm512_min_epi32(_mm512_set1_epi32((1 << 26) - 1), "
        "_mm512_madd_epi16(a, b[p])));"
    )
    sources = edited_sources(tmp_path / "source", "gemm_vnni.cpp", product, limited)
    monkeypatch.setattr(build, "SOURCES", sources)
    wrong = Library(build.library_path(cache=tmp_path / "cache"))
    monkeypatch.setattr(library, "_load", lambda: wrong)
    with caplog.at_level(logging.WARNING):
        assert route_choice.choose_route(None, Profile()).name == "kernels-avx2"
    assert "kernels-vnni is switched off" in caplog.text


FLUSHING = r"""
#include <immintrin.h>
#include <omp.h>
extern "C" void flush(int on) {
#pragma omp parallel num_threads(2)
  if (omp_get_thread_num() == 1) _mm_setcsr(on ? _mm_getcsr() | 0x8040 : _mm_getcsr() & ~0x8040);
}
"""


def test_pool_thread_that_flushes_subnormals_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Built and linked as the kernels are: it also shows that they share torch's threads.
    level_or_skip(Level.AVX2)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "flush.cpp").write_text(FLUSHING)
    monkeypatch.setattr(build, "SOURCES", tmp_path / "source")
    saboteur = ctypes.CDLL(str(build.library_path(cache=tmp_path / "cache")))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        saboteur.flush(1)
        with pytest.raises(FlushToZero), exact():
            pass
    finally:
        saboteur.flush(0)
        torch.set_num_threads(before)


def test_process_has_one_openmp_runtime() -> None:
    level_or_skip(Level.SCALAR)
    library.library()
    maps = Path("/proc/self/maps").read_text()
    loaded = {line.split()[-1] for line in maps.splitlines() if "libgomp" in line}
    assert loaded == {str(build.openmp_runtime())}


# Building ---------------------------------------------------------------------------------------


def test_without_a_compiler_other_routes_serve(
    fresh_choice: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path / "cache"))
    library._load.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            chosen = [route_choice.choose_route(name, Profile()).name for name in (None, "int8")]
        assert chosen == [PYTORCH, "int8"]
        assert caplog.text.count("no C++ compiler") == 1
    finally:
        library._load.cache_clear()


@pytest.mark.parametrize("word", ["off", "OFF", "0"])
def test_environment_switches_kernels_off(
    fresh_choice: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    word: str,
) -> None:
    monkeypatch.setenv(library.SWITCH, word)
    with caplog.at_level(logging.WARNING):
        assert route_choice.choose_route(None, Profile()).name == PYTORCH
    assert caplog.text == ""


def test_changed_environment_is_asked_again(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    level_or_skip(Level.AVX2)
    for setting, name in (("avx2", "kernels-avx2"), ("off", PYTORCH), ("avx2", "kernels-avx2")):
        monkeypatch.setenv(library.SWITCH, setting)
        assert route_choice.choose_route(None, Profile()).name == name


def test_failing_compiler_is_reported(tmp_path: Path) -> None:
    level_or_skip(Level.SCALAR)
    with pytest.raises(KernelsUnavailable, match="compiler failed"):
        build.library_path(compiler="/bin/false", cache=tmp_path / "cache")


def test_cache_that_others_can_write_is_refused(tmp_path: Path) -> None:
    level_or_skip(Level.SCALAR)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(KernelsUnavailable, match="writable by others"):
        build.library_path(cache=shared)


def test_build_publishes_one_finished_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level_or_skip(Level.SCALAR)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "answer.cpp").write_text('extern "C" int answer() { return 42; }\n')
    monkeypatch.setattr(build, "SOURCES", tmp_path / "source")
    program = (
        "import sys, pathlib; from protocol.exact.kernels import build;"
        "build.SOURCES = pathlib.Path(sys.argv[1]);"
        "print(build.library_path(cache=pathlib.Path(sys.argv[2])))"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "source"), str(tmp_path / "cache")]
    two = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        for _ in range(2)
    ]
    paths = {process.communicate()[0].strip() for process in two}
    assert [str(p) for p in (tmp_path / "cache").iterdir()] == list(paths)
    assert ctypes.CDLL(paths.pop()).answer() == 42
