"""What no result may depend on: order, storage layout, threads, and how a batch was cut.

Every route and both settings of the row kernels are asked; the vectors lend operands and answers
for every operation of the profile, Hypothesis the shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from protocol.exact import NonFinite, Profile, exact, index_sum, routes, sum_
from protocol.exact.conformance import vectors
from protocol.exact.conformance.operations import OPERATIONS
from protocol.exact.conformance.runner import kernel_level, threads
from protocol.exact.contraction import Route, gemm
from protocol.exact.route_choice import ROUTES
from tests.support.exact_tensors import layouts, same_bits

CPU = torch.device("cpu")
SERVING = [route for route in ROUTES if routes()[route.name]]
SETTINGS = ("off", "on")
LARGEST = 3000
"""Vectors with more elements than this are left to the vectors' own run."""

by_route = pytest.mark.parametrize("route", SERVING, ids=lambda route: route.name)
by_kernels = pytest.mark.parametrize("kernels", SETTINGS)

sizes = st.integers(1, 40)
seeds = st.integers(1, 1 << 20)
scales = st.sampled_from([(0, 3), (60, 72), (105, 131), (90, 150), (1, 200)])
narrow = st.sampled_from([(100, 130), (115, 131)])


def drawn(seed: int, scale: tuple[int, int], *shape: int) -> Tensor:
    """Patterns of every kind within a range of exponents, as the vectors' recipe draws them."""
    recipe = {"seed": seed, "low": scale[0], "high": scale[1]}
    return vectors.decode({"type": "float32", "shape": shape, "recipe": recipe})


def shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


# Order ------------------------------------------------------------------------------------------


@by_kernels
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 5), count=st.integers(1, 5000), seed=seeds, scale=scales)
def test_sum_does_not_depend_on_the_order_of_its_addends(
    kernels: str, rows: int, count: int, seed: int, scale: tuple[int, int]
) -> None:
    x = drawn(seed, scale, rows, count)
    order = shuffled(count, seed)
    with kernel_level(kernels):
        want = sum_(x, 1)
        assert same_bits(sum_(x[:, order], 1), want)
        assert same_bits(sum_(x.t()[order], 0), want)


@by_kernels
@settings(max_examples=30, deadline=None)
@given(
    hits=st.lists(st.integers(0, 9), min_size=1, max_size=200),
    columns=st.integers(1, 70),
    seed=seeds,
    scale=scales,
)
def test_scattered_sum_does_not_depend_on_the_order_of_its_hits(
    kernels: str, hits: list[int], columns: int, seed: int, scale: tuple[int, int]
) -> None:
    index, source = torch.tensor(hits), drawn(seed, scale, len(hits), columns)
    order = shuffled(len(hits), seed)
    with kernel_level(kernels):
        want = index_sum(index, source, 10)
        assert same_bits(index_sum(index[order], source[order], 10), want)
        for row in range(10):
            assert same_bits(want[row], sum_(source[index == row], 0))


@by_route
@settings(max_examples=15, deadline=None)
@given(
    m=sizes,
    n=sizes,
    blocks=st.lists(st.integers(2, 256), min_size=1, max_size=1) | st.just([256, 256, 77]),
    seed=seeds,
    scale=scales,
)
def test_gemm_does_not_depend_on_the_order_inside_a_block(
    route: Route, m: int, n: int, blocks: list[int], seed: int, scale: tuple[int, int]
) -> None:
    k, profile = sum(blocks), Profile(kb=256)
    a, b = drawn(seed, scale, m, k), drawn(seed + 1, scale, k, n)
    starts = [sum(blocks[:i]) for i in range(len(blocks))]
    pieces = [s + shuffled(c, seed + s) for s, c in zip(starts, blocks, strict=True)]
    order = torch.cat(pieces)
    assert same_bits(gemm(route, a[:, order], b[order], profile), gemm(route, a, b, profile))


# How a batch is cut -----------------------------------------------------------------------------


@by_route
@settings(max_examples=15, deadline=None)
@given(
    m=st.integers(2, 90), k=st.integers(1, 600), n=sizes, seed=seeds, scale=scales, data=st.data()
)
def test_gemm_rows_do_not_depend_on_their_batch(
    route: Route, m: int, k: int, n: int, seed: int, scale: tuple[int, int], data: st.DataObject
) -> None:
    a, b, profile = drawn(seed, scale, m, k), drawn(seed + 1, scale, k, n), Profile(kb=256)
    cut = data.draw(st.integers(1, m - 1), label="cut")
    whole = gemm(route, a, b, profile)
    parts = [gemm(route, rows, b, profile) for rows in (a[:cut], a[cut:])]
    assert same_bits(torch.cat(parts), whole)
    column = data.draw(st.integers(0, n - 1), label="column")
    assert same_bits(
        gemm(route, a, b[:, column : column + 1], profile), whole[:, column : column + 1]
    )


@by_route
@settings(max_examples=15, deadline=None)
@given(z=st.integers(1, 5), m=sizes, k=st.integers(1, 300), n=sizes, seed=seeds, scale=scales)
def test_batched_gemm_is_its_matrices_one_by_one(
    route: Route, z: int, m: int, k: int, n: int, seed: int, scale: tuple[int, int]
) -> None:
    a, b, profile = drawn(seed, scale, z, m, k), drawn(seed + 1, scale, z, k, n), Profile()
    single = [gemm(route, x, y, profile) for x, y in zip(a, b, strict=True)]
    assert same_bits(gemm(route, a, b, profile), torch.stack(single))


# Layout -----------------------------------------------------------------------------------------

LAYOUTS = ("transposed", "strided", "offset")


def laid_out(t: Tensor, layout: str) -> Tensor:
    """The same values in another storage order; integers and single numbers as they are."""
    return layouts(t)[layout] if t.dtype is torch.float32 and t.ndim and t.numel() else t


def lent_cases() -> dict[str, list[vectors.Case]]:
    """Operation -> up to six of its small vectors."""
    lent: dict[str, list[vectors.Case]] = {}
    for case in vectors.load():
        elements = sum(x.numel() for x in case.inputs(CPU)) if _is_listed(case) else LARGEST + 1
        if elements <= LARGEST and len(lent.setdefault(case.operation, [])) < 6:
            lent[case.operation].append(case)
    return lent


def _is_listed(case: vectors.Case) -> bool:
    """Whether decoding is cheap: no shape of millions."""
    return all(max(w["shape"], default=1) <= LARGEST for w in case.written_inputs)


LENT = lent_cases()


def answer(operation: str, inputs: list[Tensor], case: vectors.Case) -> str | list[Tensor]:
    try:
        with exact():
            return OPERATIONS[operation](inputs, case.attributes)
    except NonFinite:
        return vectors.NONFINITE


@by_kernels
@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"random_bits", "uniform", "gemm"}))
def test_no_operation_depends_on_the_layout_of_its_operands(operation: str, kernels: str) -> None:
    assert LENT[operation]
    with kernel_level(kernels):
        for case in LENT[operation]:
            for layout in LAYOUTS:
                inputs = [laid_out(x, layout) for x in case.inputs(CPU)]
                assert case.difference(answer(operation, inputs, case)) is None, (case.name, layout)


@by_route
@settings(max_examples=10, deadline=None)
@given(m=sizes, k=st.integers(1, 300), n=sizes, seed=seeds, scale=scales)
def test_gemm_does_not_depend_on_the_layout_of_its_operands(
    route: Route, m: int, k: int, n: int, seed: int, scale: tuple[int, int]
) -> None:
    a, b, profile = drawn(seed, scale, m, k), drawn(seed + 1, scale, k, n), Profile(kb=256)
    want = gemm(route, a, b, profile)
    for left in layouts(a).values():
        for right in layouts(b).values():
            assert same_bits(gemm(route, left, right, profile), want)
    row, column = a[:1].expand(m, k), b[:, :1].expand(k, n)
    assert same_bits(gemm(route, row, b, profile), want[:1].expand(m, n))
    assert same_bits(gemm(route, a, column, profile), want[:, :1].expand(m, n))
    assert same_bits(gemm(route, row, column, profile), want[:1, :1].expand(m, n))


Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rowwise:
    """A function of [rows, columns]; `backward` gives its gradient by autograd."""

    function: Function
    backward: bool = True

    def results(self, x: Tensor, grad: Tensor) -> list[Tensor]:
        """Result, and gradient by x where there is one."""
        if not self.backward:
            with exact():
                return [self.function(x)]
        leaf = x.detach().requires_grad_()
        with exact():
            y = self.function(leaf)
            y.backward(grad if y.shape == grad.shape else grad[:, :1].reshape(y.shape))
        assert leaf.grad is not None
        return [y.detach(), leaf.grad]


ROWWISE: dict[str, Rowwise] = {
    "softmax": Rowwise(lambda x: x.softmax(1)),
    "log_softmax": Rowwise(lambda x: x.log_softmax(1)),
    "layer_norm": Rowwise(lambda x: functional.layer_norm(x, x.shape[1:])),
    "rms_norm": Rowwise(lambda x: functional.rms_norm(x, x.shape[1:], eps=1e-6)),
    "gelu by tanh": Rowwise(lambda x: functional.gelu(x, approximate="tanh")),
    "gelu by erf": Rowwise(functional.gelu),
    "silu": Rowwise(functional.silu),
    "sigmoid": Rowwise(torch.sigmoid),
    "tanh": Rowwise(torch.tanh),
    "relu": Rowwise(functional.relu),
    "exp": Rowwise(torch.exp),
    "sin": Rowwise(torch.sin),
    "erf": Rowwise(torch.erf, backward=False),
    "sum of rows": Rowwise(lambda x: x.sum(1)),
    "mean of rows": Rowwise(lambda x: x.mean(1)),
    "norm of rows": Rowwise(lambda x: torch.linalg.vector_norm(x, dim=1)),
    "amax": Rowwise(lambda x: x.amax(1), backward=False),
    "sort": Rowwise(lambda x: torch.sort(x, dim=1, stable=True).values, backward=False),
    "product by its turn": Rowwise(lambda x: x @ x.t() @ x),
}

by_function = pytest.mark.parametrize("name", ROWWISE)


@by_kernels
@by_function
@settings(max_examples=5, deadline=None)
@given(rows=sizes, columns=st.integers(1, 90), seed=seeds, scale=narrow)
def test_results_and_gradients_do_not_depend_on_layout(
    name: str, kernels: str, rows: int, columns: int, seed: int, scale: tuple[int, int]
) -> None:
    x, grad = drawn(seed, scale, rows, columns), drawn(seed + 1, scale, rows, columns)
    with kernel_level(kernels):
        want = ROWWISE[name].results(x, grad)
        for layout in LAYOUTS:
            got = ROWWISE[name].results(laid_out(x, layout), laid_out(grad, layout))
            assert all(map(same_bits, got, want)), layout
        repeated = x[:1].expand(rows, columns)
        got = ROWWISE[name].results(repeated, grad)
        want = ROWWISE[name].results(repeated.clone(memory_format=torch.contiguous_format), grad)
        assert all(map(same_bits, got, want)), "expanded"


# Threads ----------------------------------------------------------------------------------------


@by_kernels
@by_function
@settings(max_examples=2, deadline=None)
@given(rows=st.integers(150, 220), columns=st.integers(250, 400), seed=seeds, scale=narrow)
def test_results_and_gradients_do_not_depend_on_threads(
    name: str, kernels: str, rows: int, columns: int, seed: int, scale: tuple[int, int]
) -> None:
    # More than 32768 elements: below that torch gives all the work to one thread.
    x, grad = drawn(seed, scale, rows, columns), drawn(seed + 1, scale, rows, columns)
    answers = []
    for count in (1, 2):
        with kernel_level(kernels), threads(count):
            answers.append(ROWWISE[name].results(x, grad))
    assert all(map(same_bits, *answers))


@by_route
@settings(max_examples=5, deadline=None)
@given(m=st.integers(60, 130), k=st.integers(200, 600), n=st.integers(60, 130), seed=seeds)
def test_gemm_does_not_depend_on_threads(route: Route, m: int, k: int, n: int, seed: int) -> None:
    a, b = drawn(seed, (105, 131), m, k), drawn(seed + 1, (105, 131), k, n)
    answers = []
    for count in (1, 2):
        with threads(count):
            answers.append(gemm(route, a, b, Profile(kb=256)))
    assert same_bits(*answers)
