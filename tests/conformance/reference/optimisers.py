"""One optimiser step per element or per matrix; every scalar of a row is a pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.conformance.reference.binary32 import (
    ONE,
    add,
    div,
    is_zero,
    max2,
    min2,
    mul,
    rne32,
    sign,
    sqrt,
    sub,
)
from tests.conformance.reference.contraction import Matrix, gemm
from tests.conformance.reference.reductions import norm, sum_

Scalars = Mapping[str, int]


def adamw(p: int, g: int, m: int, v: int, row: Scalars) -> tuple[int, int, int]:
    m, v, step = _adam_step(g, m, v, row)
    return sub(mul(p, row["decay"]), step), m, v


def adam(p: int, g: int, m: int, v: int, row: Scalars) -> tuple[int, int, int]:
    m, v, step = _adam_step(_decayed(g, p, row), m, v, row)
    return sub(p, step), m, v


def _adam_step(g: int, m: int, v: int, row: Scalars) -> tuple[int, int, int]:
    m = add(mul(row["beta1"], m), mul(row["beta1_complement"], g))
    v = add(mul(row["beta2"], v), mul(row["beta2_complement"], mul(g, g)))
    denominator = add(mul(sqrt(v), row["unbias"]), row["eps"])
    return m, v, mul(row["step_size"], div(m, denominator))


def _decayed(g: int, p: int, row: Scalars) -> int:
    return g if is_zero(row["decay"]) else add(g, mul(p, row["decay"]))


def sgd(p: int, g: int, m: int, row: Scalars) -> tuple[int, int]:
    """`row["nesterov"]` is 0 or 1; a factor of 0 or 1 leaves its term or product out."""
    g = _decayed(g, p, row)
    step = g
    if not is_zero(row["momentum"]):
        scale = row["gradient_scale"]
        m = add(mul(row["momentum"], m), g if scale == ONE else mul(scale, g))
        step = add(g, mul(row["momentum"], m)) if row["nesterov"] else m
    return sub(p, mul(row["lr"], step)), m


def lion(p: int, g: int, m: int, row: Scalars) -> tuple[int, int]:
    direction = add(mul(row["beta1"], m), mul(row["beta1_complement"], g))
    moved = sub(mul(p, row["decay"]), mul(row["lr"], sign(direction)))
    return moved, add(mul(row["beta2"], m), mul(row["beta2_complement"], g))


def muon(
    p: Matrix, g: Matrix, m: Matrix, row: Scalars, bits: int = 14, kb: int = 1024
) -> tuple[list[list[int]], list[list[int]]]:
    """`row["nesterov"]` and `row["iterations"]` are plain integers."""
    mu = row["momentum"]
    m = _zip(lambda a, b: add(mul(mu, a), b), m, g)
    u = _zip(lambda a, b: add(a, mul(mu, b)), g, m) if row["nesterov"] else m
    x = orthogonal(u, row, bits, kb)
    shape = max2(div(rne32(len(p)), rne32(len(p[0]))), ONE)
    scale = mul(sqrt(shape), row["lr"])
    return _zip(lambda a, b: sub(mul(a, row["decay"]), mul(b, scale)), p, x), list(map(list, m))


def orthogonal(u: Matrix, row: Scalars, bits: int = 14, kb: int = 1024) -> list[list[int]]:
    tall = len(u) > len(u[0])
    x = _turned(u) if tall else [list(r) for r in u]
    length = add(norm([v for r in x for v in r]), row["eps"])
    x = [[div(v, length) for v in r] for r in x]
    for _ in range(row["iterations"]):
        s = gemm(x, _turned(x), bits, kb)
        squared = gemm(s, s, bits, kb)
        y = _zip(lambda a, b: add(mul(row["b"], a), mul(row["c"], b)), s, squared)
        x = _zip(lambda a, b: add(mul(row["a"], a), b), x, gemm(y, x, bits, kb))
    return _turned(x) if tall else x


def _turned(x: Matrix) -> list[list[int]]:
    return [list(column) for column in zip(*x, strict=True)]


def _zip(function, x: Matrix, y: Matrix) -> list[list[int]]:  # type: ignore[no-untyped-def]
    return [[function(a, b) for a, b in zip(r, s, strict=True)] for r, s in zip(x, y, strict=True)]


def clip(tensors: Sequence[Sequence[int]], max_norm: int) -> tuple[list[list[int]], int]:
    """(scaled tensors, norm)."""
    total = sqrt(sum_([sum_([mul(x, x) for x in t]) for t in tensors]))
    factor = min2(div(max_norm, total), ONE)
    return [[mul(x, factor) for x in t] for t in tensors], total


def aggregate(results: Sequence[Sequence[int]]) -> list[int]:
    count = rne32(len(results))
    return [div(sum_(column), count) for column in zip(*results, strict=True)]
