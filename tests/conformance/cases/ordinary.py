"""Cases of ordinary models: activations and losses with gradients, statistics, running totals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from tests.conformance.operands import (
    EDGES,
    SPECIALS,
    Case,
    Operand,
    drawn,
    filled,
    floats,
    pattern,
    scalar,
)
from tests.conformance.reference import activations as formulas
from tests.conformance.reference.binary32 import (
    MINUS_INFINITY,
    ONE,
    add,
    div,
    is_finite,
    mul,
    of_scalar,
    rne32,
    sqrt,
    sub,
)
from tests.conformance.reference.compositions import power
from tests.conformance.reference.contraction import gemm
from tests.conformance.reference.functions import exp, log
from tests.conformance.reference.reductions import amax, sum_

ACTIVATIONS: dict[str, dict[str, float]] = {
    "hardtanh": {"low": -0.4, "high": 0.6},
    "hardsigmoid": {},
    "hardswish": {},
    "elu": {"alpha": 0.7},
    "softplus": {"beta": 2.0, "threshold": 1.5},
    "logsigmoid": {},
    "mish": {},
}
LOSSES: dict[str, dict[str, float]] = {"huber": {"delta": 0.3}, "smooth_l1": {"beta": 0.3}}


def cases() -> Iterator[Case]:
    yield from _activations()
    yield from _losses()
    yield from _statistics()
    yield from _totals()
    yield from _half_powers()
    yield from _products_with_bias()


def _activations() -> Iterator[Case]:
    turns = [0x40400000, 0xC0400000, 0x40C00000, 0xC0BFFFFF, 0x3F400000, 0x3F19999A, 0xBECCCCCD]
    x = [*EDGES, *SPECIALS, *turns, *(pattern(181, i, 110, 131) for i in range(250))]
    g = [pattern(182, i, 110, 135) for i in range(len(x))]
    for name, scalars in ACTIVATIONS.items():
        bits = [of_scalar(v) for v in scalars.values()]
        value = getattr(formulas, name)
        gradient = getattr(formulas, f"{name}_gradient")
        y = floats([value(v, *bits) for v in x])
        dx = floats([gradient(a, v, *bits) for a, v in zip(g, x, strict=True)])
        yield _given(f"{name}/edges and ordinary", name, [g, x], [y, dx], _written(scalars))


def _losses() -> Iterator[Case]:
    x, y = ([pattern(s, i, 110, 129) for i in range(40)] for s in (183, 184))
    for name, scalars in LOSSES.items():
        bits = [of_scalar(v) for v in scalars.values()]
        yield from _loss(name, getattr(formulas, name), x, y, bits, scalars)
    part = [0, ONE, 1, 0x3F7FFFFF, *(pattern(185, i, 110, 126) & 0x7FFFFFFF for i in range(36))]
    goal = [pattern(186, i, 110, 126) & 0x7FFFFFFF for i in range(40)]
    yield from _loss("binary_cross_entropy", formulas.binary_cross_entropy, part, goal, [], {})


def _loss(
    name: str,
    function: Callable[..., tuple[int, int]],
    x: list[int],
    y: list[int],
    bits: list[int],
    scalars: dict[str, float],
) -> Iterator[Case]:
    """The loss, and its gradient by x for a gradient of 1."""
    for reduction in ("mean", "sum"):
        n = rne32(len(x))
        h = div(ONE, n) if reduction == "mean" else ONE
        parts = [function(a, b, h, *bits) for a, b in zip(x, y, strict=True)]
        total = sum_([value for value, _ in parts])
        loss = div(total, n) if reduction == "mean" else total
        results = [scalar(loss), floats([slope for _, slope in parts])]
        attributes = {"reduction": reduction, **_written(scalars)}
        yield _given(f"{name}/{reduction}", name, [x, y], results, attributes)


def _statistics() -> Iterator[Case]:
    rows = {"ordinary": drawn(187, 110, 131, 3, 33), "constant": filled(0x40A00000, 2, 9)}
    for name, x in rows.items():
        for correction in (0, 1):
            found = floats([_variance(row, correction) for row in x.rows])
            attributes = {"axis": 1, "correction": correction}
            roots = floats([sqrt(v) for v in found.values])
            title = f"{name}, correction {correction}"
            yield Case(f"var/{title}", "var", [x], partial(list, [found]), attributes)
            yield Case(f"std/{title}", "std", [x], partial(list, [roots]), attributes)
    masked = drawn(188, 110, 131, 2, 9, edits=[(i, MINUS_INFINITY) for i in range(0, 18, 4)])
    runs = {
        "ordinary": rows["ordinary"],
        "masked": masked,
        "wholly masked": filled(MINUS_INFINITY, 1, 4),
        "plus infinity": filled(ONE, 1, 4, edits=[(2, 0x7F800000)]),
        "NaN": filled(ONE, 1, 4, edits=[(2, 0x7FC00000)]),
    }
    for name, x in runs.items():
        yield Case(f"logsumexp/{name}", "logsumexp", [x], partial(_logsumexps, x), {"axis": 1})


def _variance(row: Sequence[int], correction: int) -> int:
    mean = div(sum_(row), rne32(len(row)))
    squares = [mul(c, c) for c in (sub(x, mean) for x in row)]
    return div(sum_(squares), rne32(len(row) - correction))


def _logsumexps(x: Operand) -> list[Operand]:
    return [floats([_logsumexp(row) for row in x.rows])]


def _logsumexp(row: Sequence[int]) -> int:
    largest = amax(row)
    m = largest if is_finite(largest) else 0
    return add(log(sum_([exp(sub(x, m)) for x in row])), m)


def _totals() -> Iterator[Case]:
    rows = {
        "ordinary": drawn(189, 120, 129, 3, 40),
        "ties": floats([0x4B800000, ONE, ONE, 0xCB800000], 1, 4),
        "edges": floats(EDGES, 1, len(EDGES)),
        "one": floats([0x80000000], 1, 1),
    }
    for name, x in rows.items():
        sums, products = (
            [function(list(row)) for row in x.rows]
            for function in (formulas.cumsum, formulas.cumprod)
        )
        for operation, found in (("cumsum", sums), ("cumprod", products)):
            result = floats([v for row in found for v in row], *x.shape)
            yield Case(f"{operation}/{name}", operation, [x], partial(list, [result]), {"axis": 1})
        whole = floats([row[-1] for row in products])
        yield Case(f"prod/{name}", "prod", [x], partial(list, [whole]), {"axis": 1})


def _half_powers() -> Iterator[Case]:
    x = [*EDGES, *(pattern(190, i, 110, 140) for i in range(60))]
    for whole in (0, 1, 2, -1, -2):
        want = [_half_power(v, whole) for v in x]
        attributes = {"exponent": whole + 0.5}
        result = partial(list, [floats(want)])
        yield Case(f"power/{whole + 0.5}", "power", [floats(x)], result, attributes)


def _half_power(x: int, whole: int) -> int:
    """x^(whole + 1/2): power * sqrt(x), or one divided by it."""
    if whole < 0:
        return div(ONE, _half_power(x, -whole - 1))
    return mul(power(x, whole), sqrt(x)) if whole else sqrt(x)


def _products_with_bias() -> Iterator[Case]:
    bias, a, b = drawn(191, 110, 130, 4), drawn(192, 112, 130, 3, 70), drawn(193, 112, 130, 70, 4)
    rows = gemm(a.rows, b.rows)
    want = [add(v, c) for row in rows for v, c in zip(row, bias.values, strict=True)]
    result = partial(list, [floats(want, 3, 4)])
    yield Case("addmm/3x70x4", "addmm", [bias, a, b], result)


def _given(
    name: str,
    operation: str,
    columns: Sequence[list[int]],
    results: list[Operand],
    attributes: dict[str, Any],
) -> Case:
    operands = [floats(column) for column in columns]
    return Case(name, operation, operands, partial(list, results), attributes)


def _written(scalars: dict[str, float]) -> dict[str, str]:
    return {name: value.hex() for name, value in scalars.items()}
