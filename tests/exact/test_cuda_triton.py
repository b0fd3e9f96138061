"""The Triton kernels: on a GPU as they are, here in Triton's interpreter and compiled for GPUs.

The interpreter runs the kernels' Python on arrays: it shows indices, masks, integer arithmetic and
rounding to be right. It shows nothing of what the compiler makes of them, of shared memory or of
tensor cores; what can be said of that without a GPU is read from the compiled PTX.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from protocol.exact import Profile, routes
from tests.conformance import reference
from tests.support.devices import INTERPRETED
from tests.support.exact_tensors import from_bits, to_bits

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="needs Triton, which is not installed"
)
runs_kernels = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()),
    reason="needs a CUDA device or TRITON_INTERPRET=1",
)


def run(*arguments: str, **environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    return finished.stdout


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's run")
def test_kernels_are_right_in_the_interpreter() -> None:
    files = ("test_cuda_routes.py", "test_cuda_triton.py")
    paths = [str(Path(__file__).with_name(name)) for name in files]
    options = ("-q", "-k", "triton and not wide", "-m", "not gpu", "-p", "no:cacheprovider")
    output = run("-m", "pytest", *paths, *options, TRITON_INTERPRET="1")
    assert re.search(r"\d\d passed", output), output


# Rounding -----------------------------------------------------------------------------------------


def hard_sums() -> Iterator[tuple[int, int]]:
    """(s, e): ties, carries, the edges of subnormal numbers and overflow, at all exponents."""
    shapes = [1, 2, 3, (1 << 40) - 1, 1 << 40, (1 << 40) + (1 << 16)]
    for bits in (24, 25, 26, 31, 40):
        tie = 1 << (bits - 25) if bits > 24 else 1
        for head in (1 << (bits - 1), (1 << bits) - 2 * tie, (1 << bits) - 4 * tie):
            shapes += [head + tie + nudge for nudge in (-1, 0, 1)] + [head + 3 * tie]
    for shape in shapes:
        length = shape.bit_length()
        near = (-126, -127, -148, -149, -150, -151, 126, 127, 128)
        exponents = {-280, -24, 0, 232, *(edge - length + d for edge in near for d in (0, 1))}
        for e in sorted(exponents):
            yield shape, e
            yield -shape, e
    yield from ((0, e) for e in (-280, -127, 0, 232))


@runs_kernels
def test_triton_rounds_integers_once() -> None:
    from tests.support.triton_rounding import round_all

    sums = list(hard_sums())
    got = to_bits(round_all([s for s, _ in sums], [e for _, e in sums]))
    for (s, e), bits in zip(sums, got, strict=True):
        want = reference.rne32(Fraction(s) * Fraction(2) ** e)
        assert bits == (want if want & 0x7FFFFFFF else 0), (s, e)


@runs_kernels
def test_triton_rounds_every_tail_of_a_significand() -> None:
    from tests.support.triton_rounding import round_all

    sums = [(1 << 30) + tail for tail in range(1 << 9)]
    for e in (0, -165, -172):  # 2^-142 keeps seven bits, 2^-135 fourteen
        got = to_bits(round_all(sums, [e] * len(sums)))
        assert got == [reference.rne32(Fraction(s) * Fraction(2) ** e) for s in sums]


@runs_kernels
def test_triton_quantises_with_integers_as_floats_would() -> None:
    from protocol.exact.contraction import quantise
    from protocol.exact.cuda import triton_gemm

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = [_tails(top) for top in (0, 1, 2, 14, 127, 254)]
    x = from_bits(rows)
    for b in (14, 16):
        profile = Profile(b=b)
        want = quantise(x, 1, profile)
        largest = torch.zeros(1, dtype=torch.int32, device=device)
        high, low, exponents = triton_gemm._quantised(x[None].to(device), 1024, largest, profile)
        q = high.int() * (1 << b // 2) + low.int()
        assert torch.equal(q[0, :, : x.shape[1]].cpu(), want.q.int())
        assert torch.equal(exponents[0, 0].cpu(), want.exponent[:, 0])
        assert not q[0, :, x.shape[1] :].any()
        assert int(largest) == 0x7F7FFFFF


def _tails(top: int) -> list[int]:
    """Patterns of both signs at every distance below a largest exponent, ties among them."""
    fractions = (0, 1, 0x1FF, 0x200, 0x400, 0x600, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFF)
    below = [max(top - d, 0) << 23 | f for d in range(17) for f in fractions]
    return [word | sign << 31 for word in below for sign in (0, 1)]


@runs_kernels
def test_triton_route_is_on_the_list_of_its_devices() -> None:
    if torch.cuda.is_available():
        assert routes(device=torch.device("cuda", 0))["triton"]
    else:
        assert "triton" not in routes()  # interpreted kernels never serve by themselves


# What the compiler makes of them ------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled() -> dict[str, str]:
    return json.loads(run("-m", "tests.support.triton_targets", "80", "90", "100"))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_compiled_kernels_hold_nothing_that_could_round(
    compiled: dict[str, str], capability: int
) -> None:
    mine = {name: text for name, text in compiled.items() if f"sm_{capability}," in name}
    assert len(mine) == 4
    for name, text in mine.items():
        found = re.findall(
            r"^\s+(?:@\S+ )?([a-z]\S*\.(?:f16|f32|f64|bf16|ftz|f32x2)\S*)", text, re.M
        )
        allowed = r"add\.rn\.f32(x2)?|cvt\.rn\.f32\.[su]64"
        assert all(re.fullmatch(allowed, word) for word in found), (name, sorted(set(found)))
        if name.startswith("multiply"):
            assert found, "the fold and the conversion are float instructions"
            assert re.search(r"mma\S*\.s8|kind::i8", text), "the products run on the int8 unit"
