"""Cases of the fixed formulas and their gradients: activations, softmax, norms, losses."""

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
    integers,
    pattern,
    scalar,
)
from tests.conformance.reference import compositions as formulas
from tests.conformance.reference.binary32 import MINUS_INFINITY, ONE, of_scalar
from tests.conformance.reference.reductions import norm

ACTIVATIONS: dict[str, Callable[[int], int]] = {
    "sigmoid": formulas.sigmoid,
    "silu": formulas.silu,
    "gelu_tanh": formulas.gelu_tanh,
    "gelu_erf": formulas.gelu_erf,
}
GRADIENTS: dict[str, Callable[[int, int], int]] = {
    "sigmoid_backward": formulas.sigmoid_backward,
    "tanh_backward": formulas.tanh_backward,
    "silu_backward": formulas.silu_backward,
    "gelu_tanh_backward": formulas.gelu_tanh_backward,
    "gelu_erf_backward": formulas.gelu_erf_backward,
}
EPSILON = 1e-5


def cases() -> Iterator[Case]:
    yield from _activations()
    yield from _powers()
    yield from _softmax()
    yield from _norms()
    yield from _cross_entropy()
    yield from _squared_error()


def _activations() -> Iterator[Case]:
    ordinary = [pattern(91, i, 105, 131) for i in range(400)]
    wide = [pattern(92, i, 0, 254) for i in range(200)]
    patterns = [*EDGES, *SPECIALS, *ordinary, *wide]
    for name, function in ACTIVATIONS.items():
        yield _map(name, [patterns], function)
    grads = [pattern(93, i, 100, 140) for i in range(len(patterns))]
    for name, gradient in GRADIENTS.items():
        yield _map(name, [grads, patterns], gradient)
    for slope in (0.01, 0.1, 0.0):
        bits, attributes = of_scalar(slope), {"slope": slope.hex()}
        with_slope = f"leaky_relu/slope {slope}"
        want = [formulas.leaky_relu(x, bits) for x in patterns]
        yield Case(with_slope, "leaky_relu", [floats(patterns)], _floats(want), attributes)
        pairs = zip(grads, patterns, strict=True)
        want = [formulas.leaky_relu_backward(g, x, bits) for g, x in pairs]
        operands = [floats(grads), floats(patterns)]
        name = f"leaky_relu_backward/slope {slope}"
        yield Case(name, "leaky_relu_backward", operands, _floats(want), attributes)


def _map(name: str, columns: Sequence[list[int]], function: Callable[..., int]) -> Case:
    want = [function(*values) for values in zip(*columns, strict=True)]
    title = f"{name}/edges, ordinary and all scales"
    return Case(title, name, [floats(c) for c in columns], _floats(want))


def _powers() -> Iterator[Case]:
    patterns = [*EDGES, *(pattern(94, i, 110, 140) for i in range(60))]
    for exponent in (1, 2, 3, 4, 7, -1, -2, -3):
        want = [formulas.power(x, exponent) for x in patterns]
        attributes = {"exponent": exponent}
        name = f"power/{exponent}"
        yield Case(name, "power", [floats(patterns)], _floats(want), attributes)


# Softmax ----------------------------------------------------------------------------------------


def _softmax() -> Iterator[Case]:
    masked = [(i, MINUS_INFINITY) for i in range(0, 66, 3)]
    rows = {
        "one element": drawn(95, 110, 132, 3, 1),
        "ordinary": drawn(96, 110, 132, 3, 33),
        "long": drawn(97, 110, 130, 1, 700),
        "all scales": drawn(98, 0, 254, 2, 20),
        "masked": drawn(99, 110, 132, 2, 33, edits=masked),
        "equal": filled(0xC2480000, 1, 7),
        "zeros of both signs": floats([0, 0x80000000, 0x80000000], 1, 3),
        "wholly masked": filled(MINUS_INFINITY, 1, 4),
        "plus infinity": filled(ONE, 1, 4, edits=[(2, 0x7F800000)]),
        "NaN": filled(ONE, 2, 4, edits=[(6, 0x7FC00000)]),
        "no rows": filled(ONE, 0, 4),
    }
    for name, x in rows.items():
        for operation, function in (
            ("softmax", formulas.softmax),
            ("log_softmax", formulas.log_softmax),
        ):
            title = f"{operation}/{name}"
            yield Case(title, operation, [x], _rowwise(function, x), {"axis": 1})
    column = drawn(100, 110, 132, 33, 4)
    yield Case("softmax/over columns", "softmax", [column], _columns(column), {"axis": 0})
    for name, (low, high) in {"ordinary": (105, 128), "all scales": (0, 120)}.items():
        grad, x = drawn(101, low, high, 3, 33), drawn(102, 110, 131, 3, 33)
        for operation, forward, backward in (
            ("softmax_backward", formulas.softmax, formulas.softmax_backward),
            ("log_softmax_backward", formulas.log_softmax, formulas.log_softmax_backward),
        ):
            y = floats([v for row in x.rows for v in forward(row)], *x.shape)
            compute = _rowwise(backward, grad, y)
            yield Case(f"{operation}/{name}", operation, [grad, y], compute, {"axis": 1})


def _columns(x: Operand) -> Callable[[], list[Operand]]:
    def compute() -> list[Operand]:
        turned = [formulas.softmax(column) for column in zip(*x.rows, strict=True)]
        return [floats([v for row in zip(*turned, strict=True) for v in row], *x.shape)]

    return compute


def _rowwise(function: Callable[..., list[int]], *operands: Operand) -> Callable[[], list[Operand]]:
    def compute() -> list[Operand]:
        rows = zip(*(x.rows for x in operands), strict=True)
        values = [v for parts in rows for v in function(*parts)]
        return [floats(values, *operands[0].shape)]

    return compute


# Normalisation ----------------------------------------------------------------------------------


def _norms() -> Iterator[Case]:
    width = 24
    weight, bias = drawn(103, 115, 130, width), drawn(104, 115, 130, width)
    eps = {"eps": EPSILON.hex()}
    for name, (low, high) in {
        "ordinary": (110, 132),
        "small": (80, 100),
        "subnormal": (0, 3),
        "large": (150, 185),
        "squares overflow": (200, 240),
    }.items():
        x = drawn(105, low, high, 4, width)
        for operation in ("layer_norm", "rms_norm"):
            operands = [x, weight, bias] if operation == "layer_norm" else [x, weight]
            compute = _normalised(operation, *operands)
            yield Case(f"{operation}/{name}", operation, operands, compute, eps)
    constant = filled(0x40A00000, 2, width)
    plain = drawn(106, 115, 130, 3, 7)
    for operation in ("layer_norm", "rms_norm"):
        yield Case(
            f"{operation}/constant rows, no weight",
            operation,
            [constant],
            _normalised(operation, constant),
            eps,
        )
        yield Case(f"{operation}/no weight", operation, [plain], _normalised(operation, plain), eps)
    yield from _norm_gradients(weight)


def _normalised(operation: str, x: Operand, *parameters: Operand) -> Callable[[], list[Operand]]:
    """layer_norm gives output, mean and r; rms_norm the output."""
    eps = of_scalar(EPSILON)
    given: list[Any] = [p.values for p in parameters]

    def compute() -> list[Operand]:
        if operation == "rms_norm":
            weight = given[0] if given else None
            rows = [formulas.rms_norm(row, weight, eps) for row in x.rows]
            return [floats([v for row in rows for v in row], *x.shape)]
        parts = [formulas.layer_norm_parts(row, *(given or [None, None]), eps) for row in x.rows]
        y = [v for part in parts for v in part[0]]
        mean, r = ([part[i] for part in parts] for i in (1, 2))
        return [floats(y, *x.shape), floats(mean, len(mean), 1), floats(r, len(r), 1)]

    return compute


def _norm_gradients(weight: Operand) -> Iterator[Case]:
    width = weight.shape[0]
    for name, (low, high) in {"ordinary": (110, 130), "small": (60, 90)}.items():
        grad, x = drawn(107, low, high, 5, width), drawn(108, 115, 131, 5, width)
        parts = [formulas.layer_norm_parts(r, None, None, of_scalar(EPSILON)) for r in x.rows]
        mean, r = (floats([part[i] for part in parts], 5, 1) for i in (1, 2))
        for title, scale in ((name, weight), (f"{name}, no weight", None)):
            operands = [grad, x, mean, r, *([scale] if scale else [])]
            yield Case(
                f"layer_norm_backward/{title}",
                "layer_norm_backward",
                operands,
                _norm_gradient(grad, x, mean, r, scale),
            )


def _norm_gradient(
    grad: Operand, x: Operand, mean: Operand, r: Operand, weight: Operand | None
) -> Callable[[], list[Operand]]:
    def compute() -> list[Operand]:
        scale = weight.values if weight else None
        dx, dw, db = formulas.layer_norm_backward(grad.rows, x.rows, mean.values, r.values, scale)
        return [floats([v for row in dx for v in row], *x.shape), floats(dw), floats(db)]

    return compute


# Losses -----------------------------------------------------------------------------------------


def _cross_entropy() -> Iterator[Case]:
    x = drawn(109, 115, 131, 6, 11)
    targets = {
        "all counted": [0, 10, 3, 3, 7, 1],
        "some ignored": [-100, 10, -100, 3, 7, 1],
        "one counted": [-100, -100, -100, -100, 7, -100],
        "none counted": [-100] * 6,
    }
    for name, target in targets.items():
        for reduction in ("mean", "sum"):
            attributes = {"reduction": reduction, "ignore_index": -100}
            title = f"cross_entropy/{name}, {reduction}"
            operands = [x, integers(target)]
            compute = _loss_and_gradient(x, target, reduction)
            yield Case(title, "cross_entropy", operands, compute, attributes)


def _loss_and_gradient(x: Operand, target: list[int], reduction: str) -> Callable[..., Any]:
    """The loss, and its gradient with respect to x for a gradient of 1."""

    def compute() -> list[Operand]:
        logp = [formulas.log_softmax(row) for row in x.rows]
        [loss] = formulas.nll_loss(logp, target, reduction, -100)
        picked = formulas.nll_loss_backward([ONE], x.shape[1], target, reduction, -100)
        pairs = zip(picked, logp, strict=True)
        rows = [formulas.log_softmax_backward(g, y) for g, y in pairs]
        return [scalar(loss), floats([v for row in rows for v in row], *x.shape)]

    return compute


def _squared_error() -> Iterator[Case]:
    x, y = drawn(110, 110, 130, 5, 7), drawn(111, 110, 130, 5, 7)
    grad = scalar(0x3E99999A)
    for reduction in ("mean", "sum"):
        attributes = {"reduction": reduction}
        [loss] = formulas.mse_loss(x.values, y.values, reduction)
        found = partial(list, [scalar(loss)])
        yield Case(f"mse_loss/{reduction}", "mse_loss", [x, y], found, attributes)
        slope = formulas.mse_loss_backward(grad.values, x.values, y.values, reduction)
        found = partial(list, [floats(slope, *x.shape)])
        name = f"mse_loss_backward/{reduction}"
        yield Case(name, "mse_loss_backward", [grad, x, y], found, attributes)
    rows = drawn(112, 110, 135, 4, 9)
    lengths = floats([norm(row) for row in rows.rows])
    yield Case("norm/rows", "norm", [rows], partial(list, [lengths]), {"axes": [1]})


def _floats(want: list[int]) -> Callable[[], list[Operand]]:
    return lambda: [floats(want)]
