"""Optimisers bit by bit against the reference, and in meaning against torch's own."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protocol import exact as engine
from protocol.exact import (
    AdamRow,
    AdamWRow,
    InvalidUpdate,
    LionRow,
    MuonRow,
    Profile,
    SGDRow,
    optimise,
)
from tests.conformance import reference
from tests.support.exact_tensors import from_bits, patterns, same_bits, to_bits

add, sub, mul, div = reference.add, reference.sub, reference.mul, reference.div


def bits_of(scalar: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", scalar))[0])


def operand(*shape: int, seed: int) -> Tensor:
    return from_bits(patterns(torch.Size(shape).numel(), seed, (115, 128))).reshape(shape)


P, G, M = (operand(40, seed=seed) for seed in (1, 2, 3))


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_the_reference(nesterov: bool) -> None:
    row = SGDRow(lr=0.1, momentum=0.9, gradient_scale=0.7, nesterov=nesterov, decay=0.01)
    lr, mu, scale, decay = (bits_of(s) for s in (0.1, 0.9, 0.7, 0.01))
    got_p, got_m = engine.sgd(P, G, M, row)
    want_p, want_m = [], []
    for p, g, m in zip(to_bits(P), to_bits(G), to_bits(M), strict=True):
        g = add(g, mul(p, decay))
        m = add(mul(m, mu), mul(g, scale))
        want_m.append(m)
        want_p.append(sub(p, mul(add(g, mul(m, mu)) if nesterov else m, lr)))
    assert to_bits(got_m) == want_m
    assert to_bits(got_p) == want_p
    plain, same = engine.sgd(P, G, M, SGDRow(lr=0.1))
    pairs = zip(to_bits(P), to_bits(G), strict=True)
    assert to_bits(plain) == [sub(p, mul(g, lr)) for p, g in pairs]
    assert same_bits(same, M)


def test_adam_is_adamw_but_for_the_decay() -> None:
    scalars = (0.9, 0.1, 0.999, 0.001, 0.003, 3.2, 1e-8)
    row, v = AdamRow(0.01, *scalars), operand(40, seed=4).abs()
    decayed = [add(g, mul(p, bits_of(0.01))) for p, g in zip(to_bits(P), to_bits(G), strict=True)]
    bits = {name: bits_of(s) for name, s in dataclasses.asdict(row).items()}
    bits["decay"] = reference.ONE
    each = zip(to_bits(P), decayed, to_bits(M), to_bits(v), strict=True)
    want = [reference.adamw(*values, bits) for values in each]
    for tensor, column in zip(engine.adam(P, G, M, v, row), zip(*want, strict=True), strict=True):
        assert to_bits(tensor) == list(column)


def test_lion_equals_the_reference() -> None:
    row = LionRow(
        lr=0.01, decay=0.999, beta1=0.9, beta1_complement=0.1, beta2=0.99, beta2_complement=0.01
    )
    lr, d, b1, b1c, b2, b2c = (bits_of(s) for s in (0.01, 0.999, 0.9, 0.1, 0.99, 0.01))
    got_p, got_m = engine.lion(P, G, M, row)
    for i, (p, g, m) in enumerate(zip(to_bits(P), to_bits(G), to_bits(M), strict=True)):
        c = add(mul(m, b1), mul(g, b1c))
        sign = c if not c & 0x7FFFFFFF else (c & 0x80000000) | reference.ONE
        assert to_bits(got_p)[i] == sub(mul(p, d), mul(sign, lr))
        assert to_bits(got_m)[i] == add(mul(m, b2), mul(g, b2c))


def scaled(rows: list[list[int]], factor: int) -> list[list[int]]:
    return [[mul(x, factor) for x in row] for row in rows]


def summed(a: list[list[int]], b: list[list[int]]) -> list[list[int]]:
    return [[add(x, y) for x, y in zip(*pair, strict=True)] for pair in zip(a, b, strict=True)]


def test_orthogonal_equals_the_reference() -> None:
    row = MuonRow(lr=0.1, iterations=2)
    x = operand(3, 5, seed=5)
    bits = [to_bits(line) for line in x]
    norm = reference.sqrt(reference.sum_([mul(v, v) for v in sum(bits, [])]))  # noqa: RUF017 - tiny
    start = add(norm, bits_of(row.eps))
    want = [[div(v, start) for v in line] for line in bits]
    a, b, c = (bits_of(s) for s in (row.a, row.b, row.c))
    for _ in range(2):
        s = reference.gemm(want, [list(column) for column in zip(*want, strict=True)])
        polynomial = summed(scaled(s, b), scaled(reference.gemm(s, s), c))
        want = summed(scaled(want, a), reference.gemm(polynomial, want))
    got = engine.update_rules.orthogonal(x, row)
    assert same_bits(got, from_bits(want))
    assert same_bits(engine.update_rules.orthogonal(x.t(), row), from_bits(want).t())


def test_muon_steps_along_near_orthogonal_directions() -> None:
    p, g, m = operand(12, 6, seed=6), operand(12, 6, seed=7), torch.zeros(12, 6)
    row = MuonRow(lr=0.5, decay=0.9)
    new, momentum = engine.muon(p, g, m, row)
    step = (p * 0.9 - new) / (0.5 * 2**0.5)
    values = torch.linalg.svdvals(step)
    assert 0.5 < values.min().item() <= values.max().item() < 1.4
    assert same_bits(momentum, g + 0.0)
    assert not same_bits(engine.muon(p, g, m, row, Profile(b=16))[0], new)
    with pytest.raises(InvalidUpdate, match="matrices"):
        engine.muon(P, G, M, row)


def adamw_row(step: int) -> AdamWRow:
    return engine.adamw_row(0.01, (0.9, 0.999), 1e-8, 0.1, step)


def adam_row(step: int) -> AdamRow:
    return engine.adam_row(0.01, (0.9, 0.999), 1e-8, 0.1, step)


LIBRARY: dict[str, tuple[Callable[..., torch.optim.Optimizer], Callable[[int], engine.Row]]] = {
    "sgd": (
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, dampening=0.5, weight_decay=0.1),
        lambda step: SGDRow(0.01, 0.9, 1.0 if step == 1 else 0.5, decay=0.1),
    ),
    "nesterov": (
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
        lambda _: SGDRow(0.01, 0.9, nesterov=True),
    ),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1), adam_row),
    "adamw": (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1), adamw_row),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_rule_means_what_the_library_means(name: str) -> None:
    make, row_of = LIBRARY[name]
    ours = {"b": operand(4, seed=8), "a": operand(3, 5, seed=9)}
    theirs = {n: torch.nn.Parameter(t.double()) for n, t in ours.items()}
    library, state = make(theirs.values()), {}
    for step in (1, 2, 3):
        gradients = {n: operand(*t.shape, seed=10 * step + t.ndim) for n, t in ours.items()}
        for n, p in theirs.items():
            p.grad = gradients[n].double()
        library.step()
        ours, state = optimise(ours, gradients, state, row_of(step))
    for n, p in theirs.items():
        assert (ours[n].double() - p).norm() / p.norm() < 1e-6
    slots = {"momentum"} if "m.a" not in state else {"m", "v"}
    assert set(state) == {f"{slot}.{n}" for slot in slots for n in ours}


def test_mismatched_names_and_shapes_are_refused() -> None:
    with pytest.raises(InvalidUpdate, match="w: the gradient"):
        optimise({"v": P}, {"w": G}, {}, SGDRow(0.1))
    with pytest.raises(InvalidUpdate, match=r"\[40\]"):
        optimise({"w": P[:3]}, {"w": G}, {}, SGDRow(0.1))


def test_operands_stay_as_they_are() -> None:
    before = [to_bits(t) for t in (P, G)]
    for row in (SGDRow(0.1, 0.9), adamw_row(1), LionRow(0.1, 1.0, 0.9, 0.1, 0.99, 0.01)):
        optimise({"w": P}, {"w": G}, {}, row)
    assert [to_bits(t) for t in (P, G)] == before
