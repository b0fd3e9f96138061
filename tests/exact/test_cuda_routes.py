"""GEMM routes of CUDA devices against the reference; each test also runs on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from protocol.exact import NonFinite, Profile, SelfTestFailed, known_answers, route_choice
from protocol.exact.contraction import Float64Route, Quantised, quantise
from protocol.exact.cuda.wide_products import check_wide_products, long_sums
from protocol.exact.digit_routes import Bf16DigitsRoute, Int8Route
from tests.conformance import reference
from tests.support.devices import WAYS, device_named, route_of
from tests.support.exact_tensors import from_bits, layouts, patterns, same_bits, to_bits

PROFILES = [Profile(b=b, kb=kb) for b in (14, 16) for kb in (256, 1024)]

ways = pytest.mark.parametrize(("where", "name"), WAYS)
profiles = pytest.mark.parametrize("profile", PROFILES, ids=lambda p: f"b{p.b}-kb{p.kb}")


def operand(rows: int, columns: int, seed: int, exponents: tuple[int, int]) -> Tensor:
    return from_bits(patterns(rows * columns, seed, exponents)).reshape(rows, columns)


@ways
@profiles
@pytest.mark.parametrize(
    ("k", "exponents"),
    [
        (40, (110, 140)),  # ordinary values
        (40, (0, 0)),  # subnormals only
        (33, (0, 12)),  # tiny scales
        (33, (100, 254)),  # products that overflow
        (33, (60, 70)),  # products that end as subnormals
        (257, (120, 130)),  # one element in a block of its own
        (600, (100, 130)),
    ],
)
def test_route_equals_the_reference(
    where: str, name: str, profile: Profile, k: int, exponents: tuple[int, int]
) -> None:
    device = device_named(where)
    a, b = operand(17, k, 1, exponents), operand(k, 18, 2, exponents)
    got = route_of(device, name, profile).gemm(a.to(device), b.to(device), profile)
    rows, columns = [to_bits(row) for row in a], [to_bits(row) for row in b]
    assert same_bits(got.cpu(), from_bits(reference.gemm(rows, columns, profile.b, profile.kb)))


@ways
@profiles
def test_route_computes_wide_products(where: str, name: str, profile: Profile) -> None:
    device = device_named(where)
    check_wide_products(route_of(device, name, profile), profile, device)


@ways
def test_route_computes_every_layout_alike(where: str, name: str) -> None:
    device = device_named(where)
    route, profile = route_of(device, name), Profile()
    a, b = operand(20, 48, 3, (100, 130)), operand(48, 24, 4, (100, 130))
    want = Float64Route().gemm(a, b, profile)
    for left in layouts(a).values():
        for right in layouts(b).values():
            assert same_bits(route.gemm(left.to(device), right.to(device), profile).cpu(), want)
    turned = route.gemm(b.to(device).mT, a.to(device).mT, profile)
    assert same_bits(turned.cpu(), want.mT)
    row = a[:1].to(device).expand(20, 48)
    assert same_bits(route.gemm(row, b.to(device), profile).cpu(), want[:1].expand(20, 24))


@ways
def test_route_computes_a_batch_as_its_slices(where: str, name: str) -> None:
    device = device_named(where)
    route, profile = route_of(device, name), Profile()
    a = operand(3 * 130, 144, 5, (100, 130)).reshape(3, 130, 144)
    b = operand(3 * 144, 129, 6, (100, 130)).reshape(3, 144, 129)
    want = [Float64Route().gemm(x, y, profile) for x, y in zip(a, b, strict=True)]
    got = route.gemm(a.to(device), b.to(device), profile)
    assert same_bits(got.cpu(), torch.stack(want))


@ways
@pytest.mark.parametrize(
    "sizes", [(1, 40, 50), (50, 40, 1), (40, 2, 50), (17, 33, 47), (16, 16, 16)]
)
def test_route_computes_small_and_ragged_shapes(
    where: str, name: str, sizes: tuple[int, int, int]
) -> None:
    device, (m, k, n) = device_named(where), sizes
    a, b = operand(m, k, m, (90, 140)), operand(k, n, n, (90, 140))
    for profile in PROFILES:
        got = route_of(device, name, profile).gemm(a.to(device), b.to(device), profile)
        assert same_bits(got.cpu(), Float64Route().gemm(a, b, profile))


@ways
def test_route_of_nothing_is_positive_zero(where: str, name: str) -> None:
    device = device_named(where)
    gemm = route_of(device, name).gemm
    empty = gemm(torch.zeros(2, 0, device=device), torch.zeros(0, 3, device=device), Profile())
    assert to_bits(empty.cpu()) == [0] * 6
    none = gemm(torch.zeros(0, 4, device=device), torch.zeros(4, 3, device=device), Profile())
    assert none.shape == (0, 3)


@ways
@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF])
@pytest.mark.parametrize("side", [0, 1])
def test_route_with_a_non_finite_operand_raises(
    where: str, name: str, bits: int, side: int
) -> None:
    device = device_named(where)
    operands = [torch.ones(40, 40), torch.ones(40, 40)]
    operands[side].view(-1)[-1] = from_bits([bits])[0]
    for profile in PROFILES[:3]:
        with pytest.raises(NonFinite):
            route_of(device, name, profile).gemm(*(x.to(device) for x in operands), profile)


@ways
def test_route_takes_the_largest_finite_operands(where: str, name: str) -> None:
    # With b = 16 their rounded exponent is that of infinity, though they are finite.
    device, profile = device_named(where), Profile(b=16)
    a = from_bits([[0x7F7FFFFF] * 40] * 40)
    b = torch.full((40, 40), 2.0**-100)
    got = route_of(device, name, profile).gemm(a.to(device), b.to(device), profile)
    assert same_bits(got.cpu(), Float64Route().gemm(a, b, profile))


# What CUDA demands of the calls, watched on the CPU -----------------------------------------------


def strict_int_mm(a: Tensor, b: Tensor) -> Tensor:
    """`torch._int_mm` with the demands of its CUDA version and the layout that is known to work."""
    assert a.dtype is b.dtype is torch.int8
    assert a.shape[0] > 16, "cuBLAS refuses 16 rows and fewer"
    assert a.shape[1] % 8 == 0, "cuBLAS wants the contraction in multiples of 8"
    assert b.shape[1] % 8 == 0, "cuBLAS wants columns in multiples of 8"
    assert a.is_contiguous(), "the left operand lies by rows"
    assert b.mT.is_contiguous(), "the right operand lies by columns"
    return a.to(torch.int32) @ b.to(torch.int32)


@pytest.fixture
def aligned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Int8Route]:
    monkeypatch.setattr(torch, "_int_mm", strict_int_mm)
    monkeypatch.setattr(Int8Route, "aligned_devices", ("cpu",))
    monkeypatch.setattr(Int8Route, "smallest_side", 1)
    monkeypatch.setattr(Int8Route, "smallest_batched_work", 0)
    return Int8Route()


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (16, 8, 8), (17, 33, 47), (40, 1030, 3), (33, 16, 16)]
)
def test_int8_products_fit_what_cuda_demands(
    aligned: Int8Route, sizes: tuple[int, int, int]
) -> None:
    m, k, n = sizes
    a, b = operand(m, k, m, (90, 140)), operand(k, n, n, (90, 140))
    for profile in PROFILES:
        assert same_bits(aligned.gemm(a, b, profile), Float64Route().gemm(a, b, profile))


def test_int8_batches_fit_what_cuda_demands(aligned: Int8Route) -> None:
    a = operand(2 * 5, 40, 1, (100, 130)).reshape(2, 5, 40)
    b = operand(2 * 40, 6, 2, (100, 130)).reshape(2, 40, 6)
    assert same_bits(aligned.gemm(a, b, Profile()), Float64Route().gemm(a, b, Profile()))


@pytest.mark.parametrize("bits", [14, 16])
def test_digit_sums_never_reach_what_binary32_cannot_hold(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = long_sums(Profile(b=bits))
    largest, matmul = [], torch.matmul

    def watched(x: Tensor, y: Tensor) -> Tensor:
        largest.append(matmul(x.double().abs(), y.double().abs()).max().item())
        return matmul(x, y)

    monkeypatch.setattr(torch, "matmul", watched)
    Bf16DigitsRoute().gemm(a, b, Profile(b=bits))
    assert 2.0**21 < max(largest) <= 2.0**23


@pytest.mark.parametrize("bits", [14, 16])
def test_digits_fit_bfloat16(bits: int) -> None:
    hard = known_answers.gemm_operands()[0][:, :1024]
    quantised: Quantised = quantise(hard, -1, Profile(b=bits))
    route, seen = Bf16DigitsRoute(), []

    class Watched(Bf16DigitsRoute):
        def left(self, digits: Tensor) -> Tensor:
            seen.append(digits)
            return digits

    Watched().product(quantised.q, quantised.q.t(), Profile(b=bits))
    extremes = torch.arange(-(1 << bits // 2 - 1), (1 << bits // 2 - 1) + 1).float()
    for digits in (*seen, extremes):
        assert torch.equal(digits.to(torch.bfloat16).float(), digits)
        assert digits.abs().max() <= 1 << bits // 2 - 1
    assert len(seen) == 4
    assert route.left(extremes).dtype is torch.float32  # on the CPU


def test_long_sums_are_the_profiles() -> None:
    for profile in PROFILES:
        a, b, want = long_sums(profile)
        assert same_bits(Float64Route().gemm(a, b, profile), want)


class Forgetful(Bf16DigitsRoute):
    """Accumulates with 21 bits, as a unit made for short formats might."""

    def multiply(self, a: Tensor, b: Tensor, bits: int) -> Tensor:
        exact = super().multiply(a, b, bits)
        unit = torch.exp2(torch.floor(torch.log2(exact.abs().clamp(min=1))) - 20).clamp(min=1)
        return torch.floor(exact / unit) * unit


class Blurred(Float64Route):
    """Right for small products, wrong beyond one tile."""

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        result = super().gemm(a, b, profile)
        result[..., 256:, 256:] *= 1 + 2.0**-22
        return result


@pytest.mark.parametrize("route", [Forgetful(), Blurred()], ids=lambda r: type(r).__name__)
def test_wide_products_catch_what_small_ones_miss(route: Float64Route) -> None:
    with pytest.raises(SelfTestFailed, match="differs"):
        check_wide_products(route, Profile(), torch.device("cpu"))


def test_settings_of_the_library_are_part_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul, cuda = torch.backends.cuda.matmul, torch.device("cuda", 0)
    before = matmul.allow_bf16_reduced_precision_reduction
    first = route_choice._settings(cuda)
    try:
        matmul.allow_bf16_reduced_precision_reduction = not before
        assert route_choice._settings(cuda) != first
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before
    assert route_choice._settings(cuda) == first
    torch.set_float32_matmul_precision("medium")
    try:
        assert route_choice._settings(cuda) != first
    finally:
        torch.set_float32_matmul_precision("highest")


class Uncompilable(Float64Route):
    """Fails as a compiler may: with an error of its own kind."""

    name = "triton"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        raise AttributeError("no such instruction")


def test_route_that_fails_in_any_way_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(route_choice, "ROUTES", (Uncompilable(), Float64Route()))
    for memory in (route_choice._passes, route_choice._chosen):
        memory.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert route_choice.choose_route(None, Profile()).name == "float64"
    assert "triton is switched off" in caplog.text
    assert "no such instruction" in caplog.text
    for memory in (route_choice._passes, route_choice._chosen):
        memory.cache_clear()


def test_route_that_needs_a_gpu_leaves_the_cpu_to_binary64() -> None:
    if "triton" in route_choice.routes():
        pytest.skip("this device has the Triton route")
    assert route_choice.choose_route("triton", Profile()).name == "float64"
    assert [r.name for r in route_choice.CUDA_ROUTES][-1] == "float64"
