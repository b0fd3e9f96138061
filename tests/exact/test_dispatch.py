"""What the engine refuses, and that ordinary use of a model works under it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from protocol import exact as engine
from protocol.exact import exact
from tests.support.exact_step import batch, model
from tests.support.exact_tensors import MINUS_ZERO, from_bits, patterns, same_bits, to_bits

X = torch.ones(4, 4)
MASK = torch.eye(4, dtype=torch.bool)
FUSED_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

REFUSED: dict[str, Callable[[], object]] = {
    "fft_fft": lambda: torch.fft.fft(X),
    "ctc_loss": lambda: F.ctc_loss(X.view(4, 1, 4), MASK[:1].long(), (4,), (2,)),
    "_scaled_dot_product": lambda: FUSED_ATTENTION(*[X.view(1, 1, 4, 4)] * 3),
    "randn": lambda: torch.randn(3),
    "bernoulli": lambda: X.bernoulli(),
    "exponential_": lambda: X.clone().exponential_(),
    "normal_": lambda: X.clone().normal_(),
    "arange": lambda: torch.arange(0.0, 1.0, 0.1),
    "linspace": lambda: torch.linspace(0, 1, 5),
    "pow": lambda: X**0.3,
    "pow, a scalar's": lambda: 2.0**X,
    "cosh": lambda: X.cosh(),
    "logcumsumexp": lambda: X.logcumsumexp(0),
    "median": lambda: X.median(),
    "upsample_bilinear2d": lambda: F.interpolate(X.view(1, 1, 4, 4), size=8, mode="bilinear"),
    "_embedding_bag": lambda: F.embedding_bag(MASK[:2].long(), X),
    "linalg_inv": lambda: torch.linalg.inv(X + MASK),
    "_foreach": lambda: torch._foreach_exp([X]),
    "native_batch_norm": lambda: torch.native_batch_norm(X, None, None, None, None, True, 0.1, 0.1),
    "dropout": lambda: F.dropout(X, 0.5),
    "mm.out": lambda: torch.mm(X, X, out=torch.empty_like(X)),
    "remainder": lambda: X % 0.3,
    "index_put": lambda: X.clone().index_put_((torch.tensor([0, 0]),), X[:2]),
    "scatter": lambda: X.scatter(0, torch.zeros(2, 4, dtype=torch.int64), X),
    "view.dtype": lambda: X.view(torch.int32),  # would show NaN payloads, which differ
    "round.decimals": lambda: X.round(decimals=1),
    "embedding": lambda: F.embedding(torch.tensor([0]), X, scale_grad_by_freq=True),
    "binary_cross_entropy": lambda: F.binary_cross_entropy(2 * X, X),
}


@pytest.mark.parametrize("name", REFUSED)
def test_call_outside_the_list_is_refused(name: str) -> None:
    with exact(), pytest.raises(engine.UnsupportedOp) as caught:
        REFUSED[name]()
    assert __file__ in caught.value.where


def test_refusal_says_what_where_and_what_to_do() -> None:
    with exact(), pytest.raises(engine.UnsupportedOp) as caught:
        X.cosh()
    error = caught.value
    assert (error.name, error.overload, error.shapes) == ("cosh", "default", ("float32[4, 4]",))
    assert error.where.startswith(__file__)
    assert "docs/numerics.md" in str(error)


def test_library_attention_is_refused_with_the_way_out() -> None:
    with exact(), pytest.raises(engine.UnsupportedOp, match='attn_implementation="eager"'):
        REFUSED["_scaled_dot_product"]()


def test_stock_optimiser_is_refused_with_the_way_out() -> None:
    parameter = torch.ones(3, requires_grad=True)
    parameter.grad = torch.ones(3)
    optimiser = torch.optim.AdamW([parameter])
    with exact(), pytest.raises(engine.UnsupportedOp, match=r"protocol\.exact"):
        optimiser.step()


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int16]
)
def test_tensor_of_another_type_is_refused(dtype: torch.dtype) -> None:
    x = torch.ones(3, dtype=dtype)
    with exact():
        with pytest.raises(engine.UnsupportedDtype):
            x + x
        with pytest.raises(engine.UnsupportedDtype):
            X.to(dtype)
        with pytest.raises(engine.UnsupportedDtype):
            torch.zeros(3, dtype=dtype)
    with pytest.raises(engine.UnsupportedDtype):
        engine.sum_(x)
    with pytest.raises(engine.UnsupportedDtype):
        engine.tensor_root(x)


def test_sparse_tensor_is_refused() -> None:
    x = X.to_sparse()
    with exact(), pytest.raises(engine.UnsupportedDtype, match="sparse"):
        x * 2


def test_autocast_is_refused_outside_and_inside() -> None:
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(engine.AutocastActive, match="before entering"),
        exact(),
    ):
        pass
    inside = torch.autocast("cpu", dtype=torch.bfloat16)
    with exact(), inside, pytest.raises(engine.AutocastActive):
        X @ X


def test_unknown_profile_and_route_are_refused() -> None:
    for bad in ({"name": "exact-2"}, {"b": 15}, {"kb": 1000}):
        with pytest.raises(engine.InvalidProfile):
            engine.Profile(**bad)
    with pytest.raises(engine.InvalidProfile), exact("fast-1"):
        pass
    with pytest.raises(engine.RouteUnavailable), exact(route="fp8"):
        pass


def test_flushing_subnormals_is_noticed() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        with pytest.raises(engine.FlushToZero), exact():
            pass
    finally:
        torch.set_flush_denormal(False)
    with exact():
        pass


def test_plain_primitive_refuses_to_cut_a_graph() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(engine.GradientNotRecorded, match="exp"):
        engine.exp(x)
    with torch.no_grad():
        engine.exp(x)


def test_plain_primitives_run_inside_the_engine_too() -> None:
    x = from_bits(patterns(30, 2, (120, 128))).reshape(5, 6)
    outside = engine.softmax(x, 1)
    with exact():
        assert same_bits(engine.softmax(x, 1), outside)
        assert same_bits(x.softmax(1), outside)
        assert same_bits(engine.gemm(x, x.t()), x @ x.t())


def test_engines_nest_and_the_inner_profile_counts() -> None:
    a = from_bits(patterns(64, 3, (110, 128))).reshape(8, 8)
    with exact():
        outer = a @ a
        with exact(engine.Profile(b=16)):
            inner = a @ a
        assert same_bits(a @ a, outer)
    assert same_bits(outer, engine.gemm(a, a))
    assert same_bits(inner, engine.gemm(a, a, engine.Profile(b=16)))
    assert not same_bits(inner, outer)


def test_engine_belongs_to_the_thread_that_enters_it() -> None:
    seen: list[Tensor] = []
    with exact():
        thread = threading.Thread(target=lambda: seen.append(torch.randn(3)))
        thread.start()
        thread.join()
    assert len(seen) == 1  # a library generator still works beside the engine


def test_two_threads_compute_the_same_step() -> None:
    grads: list[Tensor] = []

    def work() -> None:
        gpt2 = model()
        with exact():
            gpt2(input_ids=batch()[:2], labels=batch()[:2]).loss.backward()
        grads.append(torch.cat([p.grad.flatten() for p in gpt2.parameters()]))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same_bits(*grads)


def test_in_place_results_land_in_the_operand() -> None:
    x = torch.ones(4)
    view = x[1:3]
    with exact():
        returned = view.mul_(3).add_(1, alpha=2)
        x[3] = 9.0
    assert returned.data_ptr() == view.data_ptr()
    assert x.tolist() == [1.0, 5.0, 5.0, 9.0]
    with exact(), pytest.raises(engine.UnsupportedOp, match="in-place"):
        torch.ones(4, dtype=torch.int64).div_(2)


def test_empty_memory_is_zero_inside_the_engine() -> None:
    with exact():
        for t in (torch.empty(9), X.new_empty(9), torch.empty_like(X)):
            assert set(to_bits(t)) == {0}


def test_masks_and_comparisons_use_binary32_scalars() -> None:
    x = torch.tensor([0.1])
    with exact():
        assert (x == 0.1).item()
        assert torch.where(x > 0, x, -1.0).item() == x.item()
        assert to_bits(torch.maximum(from_bits([MINUS_ZERO]), from_bits([MINUS_ZERO]))) == [0]


def test_generation_and_validation_run_without_gradients() -> None:
    gpt2 = model().eval()
    prompt = batch()[:1, :8]
    with exact():
        tokens = gpt2.generate(prompt, max_new_tokens=6, do_sample=False, pad_token_id=0)
        with torch.no_grad():
            plain = gpt2(input_ids=batch(), labels=batch()).loss
        with torch.inference_mode():
            inference = gpt2(input_ids=batch(), labels=batch()).loss
            mask = (torch.arange(48) < 40).long().expand(6, 48)
            masked = gpt2(input_ids=batch(), attention_mask=mask, labels=batch()).loss
        trained = gpt2(input_ids=batch(), labels=batch()).loss
    assert tokens.shape == (1, 14)
    assert same_bits(plain, trained.detach())
    assert to_bits(inference) == to_bits(trained)
    assert not same_bits(masked, plain)


@pytest.mark.parametrize("bits", [14, 16])
@pytest.mark.parametrize("route", ["float64", "int8"])
def test_overflowing_model_ends_as_nonfinite(bits: int, route: str) -> None:
    gpt2 = model()
    with torch.no_grad():
        gpt2.transformer.h[0].mlp.c_fc.weight.fill_(3e38)
    with exact(engine.Profile(b=bits), route=route), pytest.raises(engine.NonFinite):
        gpt2(input_ids=batch(), labels=batch())
