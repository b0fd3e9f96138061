"""torch's optimisers with exact scalars: rounding, meaning, and how they fit into a loop."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from protocol import exact as engine
from protocol.exact import InvalidUpdate, Profile, UnsupportedOp, exact
from protocol.exact.optimisers import ExactOptimiser
from protocol.exact.scalars import adam_row, adamw_row, rounded, sgd_row
from tests.conformance.reference import INFINITY, rne32
from tests.support.exact_tensors import from_bits, patterns, same_bits, to_bits

Make = Callable[[Any], torch.optim.Optimizer]

OURS: dict[str, Make] = {
    "sgd": lambda p: engine.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: engine.Adam(p, lr=0.02, weight_decay=0.1),
    "adamw": lambda p: engine.AdamW(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "lion": lambda p: engine.Lion(p, lr=0.01, weight_decay=0.1),
    "muon": lambda p: engine.Muon([q for q in p if q.ndim == 2], lr=0.05),
}

TORCHS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "muon": lambda p: torch.optim.Muon([q for q in p if q.ndim == 2], lr=0.05),
}


def operand(*shape: int, seed: int) -> Tensor:
    return from_bits(patterns(torch.Size(shape).numel(), seed, (115, 128))).reshape(shape)


def fresh() -> list[nn.Parameter]:
    return [nn.Parameter(operand(4, 6, seed=1)), nn.Parameter(operand(5, seed=2))]


def steps(parameters: list[nn.Parameter], optimiser: torch.optim.Optimizer, which: range) -> None:
    """The same gradients for the same step numbers."""
    for number in which:
        for i, p in enumerate(parameters):
            p.grad = operand(*p.shape, seed=10 * number + i).to(p.dtype)
        optimiser.step()


def bits(x: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", x))[0])


def inverse_root(x: Fraction) -> Fraction:
    """1 / sqrt(x) to 2000 bits."""
    with mpmath.workprec(2000):
        root = 1 / mpmath.sqrt(mpmath.mpf(x.numerator) / x.denominator)
        return Fraction(int(root.man)) * Fraction(2) ** int(root.exp)


# Scalars ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.fractions(min_value=0), st.integers(-160, 80))
def test_rounded_equals_the_reference(x: Fraction, exponent: int) -> None:
    scaled = x * Fraction(2) ** exponent
    if rne32(scaled) == INFINITY:
        with pytest.raises(InvalidUpdate, match="beyond binary32"):
            rounded(scaled)
        return
    got = rounded(scaled)
    assert bits(got) == rne32(scaled)
    assert struct.unpack("<f", struct.pack("<f", got))[0] == got


def test_rounded_breaks_ties_to_even_and_keeps_subnormals() -> None:
    one = Fraction(1)
    assert rounded(one + Fraction(1, 2**24)) == 1.0
    assert rounded(one + Fraction(3, 2**24)) == 1.0 + 2**-22
    assert rounded(Fraction(3, 2**150)) == 2**-148
    assert rounded(Fraction(1, 2**150)) == 0.0
    assert rounded(-one / 3) == -rounded(one / 3)
    largest = Fraction(2) ** 128 - Fraction(2) ** 104
    assert rounded(largest) == largest
    with pytest.raises(InvalidUpdate, match="beyond binary32"):
        rounded(largest + Fraction(2) ** 103)


@settings(deadline=None)
@given(
    st.floats(1e-8, 10.0),
    st.tuples(st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1.0, exclude_max=True)),
    st.floats(0.0, 1.0),
    st.integers(1, 12),
)
def test_adamw_row_is_each_formula_rounded_once(
    lr: float, betas: tuple[float, float], decay: float, step: int
) -> None:
    exact_lr, (first, second) = Fraction(lr), (Fraction(beta) for beta in betas)
    row = adamw_row(lr, betas, 1e-8, decay, step)
    assert bits(row.decay) == rne32(1 - exact_lr * Fraction(decay))
    assert bits(row.beta1) == rne32(first)
    assert bits(row.beta1_complement) == rne32(1 - first)
    assert bits(row.beta2_complement) == rne32(1 - second)
    assert bits(row.step_size) == rne32(exact_lr / (1 - first**step))
    assert bits(row.unbias) == rne32(inverse_root(1 - second**step))
    assert bits(row.eps) == rne32(Fraction(1e-8))


def test_powers_of_many_steps_are_rounded_right() -> None:
    for step in (1_000, 65_537, 1_000_000):
        row = adamw_row(0.003, (0.9999, 0.99999), 1e-8, 0.0, step)
        with mpmath.workprec(400):
            first = 1 - mpmath.power(mpmath.mpf(0.9999), step)
            second = 1 / mpmath.sqrt(1 - mpmath.power(mpmath.mpf(0.99999), step))
            for got, want in ((row.step_size, mpmath.mpf(0.003) / first), (row.unbias, second)):
                nearest = Fraction(int(want.man)) * Fraction(2) ** int(want.exp)
                assert bits(got) == rne32(nearest)


def test_scalar_that_lies_on_a_tie_is_settled() -> None:
    # lr / (1 - 1/2) = 2 * lr, and twice these rates lies between two binary32 numbers.
    assert adam_row(1 + 2.0**-24, (0.5, 0.5), 1e-8, 0.0, 1).step_size == 2.0
    assert adam_row(1 + 3 * 2.0**-24, (0.5, 0.5), 1e-8, 0.0, 1).step_size == 2.0 + 2.0**-21
    assert adam_row(1.0, (0.5, 0.75), 1e-8, 0.0, 1).unbias == 2.0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"lr": -1.0}, "lr = -1.0"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"betas": (0.9, 1.0)}, "a beta = 1.0"),
        ({"eps": float("inf")}, "eps = inf"),
        ({"weight_decay": -0.1}, "weight_decay = -0.1"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict[str, Any], named: str) -> None:
    parameters = fresh()
    with pytest.raises(InvalidUpdate, match=named):
        steps(parameters, engine.AdamW(parameters, **settings), range(1))
    assert same_bits(parameters[0].detach(), fresh()[0].detach())


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(InvalidUpdate, match="nesterov"):
        sgd_row(lr=0.1, momentum=0, dampening=0, weight_decay=0, nesterov=True, first=True)


# Optimisers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TORCHS)
def test_optimiser_means_what_torchs_means(name: str) -> None:
    ours, theirs = fresh(), [nn.Parameter(p.detach().double()) for p in fresh()]
    for parameters, make in ((ours, OURS[name]), (theirs, TORCHS[name])):
        optimiser = make(parameters)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (step + 1))
        for number in range(4):
            steps(parameters, optimiser, range(number, number + 1))
            schedule.step()
    # torch's Muon multiplies bfloat16 matrices.
    limit = 2e-2 if name == "muon" else 2e-6
    for p, q, start in zip(ours, theirs, fresh(), strict=True):
        moved = (q - start).norm()
        assert (p - q).norm() <= limit * moved


@pytest.mark.parametrize("name", OURS)
def test_step_has_the_same_bits_inside_and_outside(name: str) -> None:
    inside, outside = fresh(), fresh()
    optimiser = OURS[name](inside)
    with exact():
        steps(inside, optimiser, range(3))
    steps(outside, OURS[name](outside), range(3))
    for p, q, start in zip(inside, outside, fresh(), strict=True):
        assert same_bits(p.detach(), q.detach())
        assert name == "muon" or not same_bits(p.detach(), start.detach())


def test_sgd_inside_has_the_bits_of_torchs() -> None:
    ours, theirs = fresh(), fresh()
    with exact():
        steps(ours, OURS["sgd"](ours), range(3))
        steps(theirs, TORCHS["sgd"](theirs), range(3))
    assert all(map(same_bits, (p.detach() for p in ours), (p.detach() for p in theirs)))


def test_adamw_step_is_the_rule_with_its_row() -> None:
    [p, _], [start, _] = fresh(), fresh()
    optimiser = engine.AdamW([p], lr=0.02)
    zero = torch.zeros_like(start)
    m = v = zero
    want = start.detach()
    for number in (1, 2):
        steps([p], optimiser, range(number, number + 1))
        row = adamw_row(0.02, (0.9, 0.999), 1e-8, 0.01, number)
        want, m, v = engine.adamw(want, operand(4, 6, seed=10 * number), m, v, row)
    assert same_bits(p.detach(), want)
    assert same_bits(optimiser.state[p]["v"], v)


@pytest.mark.parametrize("name", OURS)
def test_saved_state_goes_on_where_it_stopped(name: str) -> None:
    whole, broken = fresh(), fresh()
    steps(whole, OURS[name](whole), range(4))

    first = OURS[name](broken)
    steps(broken, first, range(2))
    file = io.BytesIO()
    torch.save({"optimiser": first.state_dict(), "parameters": broken}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = [nn.Parameter(p.detach()) for p in saved["parameters"]]
    second = OURS[name](resumed)
    second.load_state_dict(saved["optimiser"])
    steps(resumed, second, range(2, 4))

    assert [to_bits(p) for p in resumed] == [to_bits(p) for p in whole]


def test_groups_and_schedulers_set_each_step() -> None:
    [a, b], [c, d] = fresh(), fresh()
    grouped = engine.AdamW([{"params": [a], "lr": 0.1}, {"params": [b], "weight_decay": 0.5}])
    steps([a, b], grouped, range(1))
    steps([c], engine.AdamW([c], lr=0.1), range(1))
    assert same_bits(a.detach(), c.detach())
    d.grad = operand(5, seed=1)
    engine.AdamW([d], weight_decay=0.5).step()
    assert same_bits(b.detach(), d.detach())


def test_parameter_without_gradient_does_not_count_a_step() -> None:
    [a, b] = fresh()
    optimiser = engine.Adam([a, b])
    steps([a], optimiser, range(2))
    assert same_bits(b.detach(), fresh()[1].detach())
    steps([a, b], optimiser, range(2, 3))
    assert (optimiser.state[a]["step"], optimiser.state[b]["step"]) == (3, 1)


def test_closure_runs_under_the_engine() -> None:
    [a, _] = fresh()
    optimiser = engine.SGD([a], lr=0.5)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    with exact():
        loss = optimiser.step(closure)
        want = (fresh()[0] * fresh()[0]).sum()
    assert same_bits(loss.detach(), want.detach())
    assert not a.detach().any()  # a - 0.5 * 2a
    with exact(), pytest.raises(UnsupportedOp):
        optimiser.step(lambda: torch.linalg.inv(a[:, :4]))


def test_muon_takes_the_profile_around_it_and_matrices_only() -> None:
    found = []
    for profile in (Profile(), Profile(b=16)):
        [matrix, _] = fresh()
        with exact(profile):
            steps([matrix], engine.Muon([matrix]), range(1))
        found.append(to_bits(matrix))
    assert found[0] != found[1]
    with pytest.raises(InvalidUpdate, match=r"not \[5\].*AdamW"):
        engine.Muon(fresh())


def test_parameters_of_another_type_are_refused() -> None:
    parameters = [nn.Parameter(p.detach().double()) for p in fresh()]
    with pytest.raises(engine.UnsupportedDtype, match="float64"):
        steps(parameters, engine.AdamW(parameters), range(1))


def test_hooks_run_and_the_name_tells_them_apart() -> None:
    parameters, seen = fresh(), []
    optimiser = engine.AdamW(parameters)
    optimiser.register_step_pre_hook(lambda *_: seen.append("before"))
    optimiser.register_step_post_hook(lambda *_: seen.append("after"))
    with exact():
        steps(parameters, optimiser, range(1))
    assert seen == ["before", "after"]
    assert repr(optimiser).startswith("exact.AdamW")
    assert all(kind.__name__.startswith("exact.") for kind in ExactOptimiser.__subclasses__())
