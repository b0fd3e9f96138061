"""Cases around a step: optimisers, clipping, aggregation, random bits, roots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from tests.conformance.reference import optimisers, random_words, roots
from tests.conformance.reference.binary32 import MAGNITUDE, ONE, of_scalar

ADAM = {
    "beta1": 0.9,
    "beta1_complement": 1 - 0.9,
    "beta2": 0.999,
    "beta2_complement": 1 - 0.999,
    "step_size": 0.003,
    "unbias": 3.2,
    "eps": 1e-8,
}
LION = {
    "lr": 1e-3,
    "decay": 0.9999,
    "beta1": 0.9,
    "beta1_complement": 1 - 0.9,
    "beta2": 0.99,
    "beta2_complement": 1 - 0.99,
}
MUON = {
    "lr": 0.02,
    "decay": 0.998,
    "momentum": 0.95,
    "nesterov": True,
    "iterations": 2,
    "a": 3.4445,
    "b": -4.775,
    "c": 2.0315,
    "eps": 1e-7,
}
SCALES = {"ordinary": (105, 130), "all scales": (0, 254)}


def cases() -> Iterator[Case]:
    for scale, (low, high) in SCALES.items():
        p, g, m, v = (drawn(121 + i, low, high, 80) for i in range(4))
        v = floats([x & MAGNITUDE for x in v.values])
        for name, decay in (("adamw", 0.999), ("adam", 0.01), ("adam", 0.0)):
            title = f"{name}/{scale}, decay {decay}"
            yield _step(title, name, [p, g, m, v], {"decay": decay, **ADAM})
        yield _step(f"lion/{scale}", "lion", [p, g, m], LION)
        yield from _sgd(scale, p, g, m)
    zero = filled(0, 5)
    yield _step("adamw/zeros", "adamw", [filled(ONE, 5), zero, zero, zero], {"decay": 0.9, **ADAM})
    yield from _muon()
    yield from _clipping()
    yield from _aggregation()
    yield from _random()
    yield from _roots()


def _step(name: str, rule: str, operands: list[Operand], row: Mapping[str, Any]) -> Case:
    """An optimiser whose elements are independent: p, gradient, state -> p, state."""
    function = getattr(optimisers, rule)

    def compute() -> list[Operand]:
        each = zip(*(x.values for x in operands), strict=True)
        results = [function(*values, _bits(row)) for values in each]
        return [floats(list(column)) for column in zip(*results, strict=True)]

    return Case(name, rule, operands, compute, _written(row))


def _bits(row: Mapping[str, Any]) -> dict[str, int]:
    return {k: of_scalar(v) if isinstance(v, float) else int(v) for k, v in row.items()}


def _written(row: Mapping[str, Any]) -> dict[str, Any]:
    """Floats as hexadecimal binary64; integers and booleans as they are."""
    return {k: v.hex() if isinstance(v, float) else v for k, v in row.items()}


def _sgd(scale: str, p: Operand, g: Operand, m: Operand) -> Iterator[Case]:
    plain = {"lr": 0.1, "momentum": 0.0, "gradient_scale": 1.0, "nesterov": False, "decay": 0.0}
    rows: dict[str, dict[str, Any]] = {
        "plain": {},
        "momentum": {"momentum": 0.9},
        "momentum and dampening": {"momentum": 0.9, "gradient_scale": 0.7},
        "Nesterov": {"momentum": 0.9, "nesterov": True},
        "decay": {"decay": 0.01, "momentum": 0.5},
    }
    for name, row in rows.items():
        yield _step(f"sgd/{name}, {scale}", "sgd", [p, g, m], plain | row)


def _muon() -> Iterator[Case]:
    for rows, columns in ((6, 9), (9, 6), (5, 5)):
        operands = [drawn(131 + i, 110, 128, rows, columns) for i in range(3)]
        for nesterov in (True, False):
            row = MUON | {"nesterov": nesterov}
            name = f"muon/{rows}x{columns}, {'Nesterov' if nesterov else 'plain'}"
            yield Case(name, "muon", operands, _muon_step(operands, row), _written(row))


def _muon_step(operands: list[Operand], row: dict[str, Any]) -> Callable[[], list[Operand]]:
    def compute() -> list[Operand]:
        matrices = optimisers.muon(*(x.rows for x in operands), _bits(row))
        return [floats([v for r in m for v in r], *operands[0].shape) for m in matrices]

    return compute


def _clipping() -> Iterator[Case]:
    tensors = {
        "ordinary": [drawn(141, 110, 130, 7), drawn(142, 100, 128, 3, 4), drawn(143, 90, 120, 1)],
        "zero": [filled(0, 3), filled(0x80000000, 2)],
        "subnormal squares": [drawn(144, 60, 70, 5)],
        "squares overflow": [filled(0x7F000000, 3)],
        "infinite": [filled(ONE, 3), filled(0x7F800000, 1)],
    }
    for name, group in tensors.items():
        for most in (1.0, 0.1, 1e9):
            attributes = {"max_norm": most.hex()}
            yield Case(f"clip/{name} to {most}", "clip", group, _clipped(group, most), attributes)


def _clipped(group: list[Operand], most: float) -> Callable[[], list[Operand]]:
    """The scaled tensors, then the norm."""

    def compute() -> list[Operand]:
        scaled, norm = optimisers.clip([x.values for x in group], of_scalar(most))
        pairs = zip(scaled, group, strict=True)
        return [*(floats(values, *x.shape) for values, x in pairs), scalar(norm)]

    return compute


def _aggregation() -> Iterator[Case]:
    for count in (1, 3, 7):
        results = [drawn(151 + i, 100, 140, 6) for i in range(count)]
        yield Case(f"aggregate/{count}", "aggregate", results, partial(_aggregate, results))


def _aggregate(results: list[Operand]) -> list[Operand]:
    return [floats(optimisers.aggregate([x.values for x in results]))]


def _random() -> Iterator[Case]:
    draws = {
        "zero": (0, 0, 0, 0),
        "every word": (0x0123456789ABCDEF, 3, 70_000, 4_000_000_000),
        "all ones": ((1 << 64) - 1, (1 << 32) - 1, (1 << 32) - 1, (1 << 32) - 1),
    }
    for name, (seed, stream, step, operation) in draws.items():
        words = random_words.random_bits(seed, stream, step, operation, 200)
        attributes = {
            "seed": f"{seed:016x}",
            "stream": stream,
            "step": step,
            "operation": operation,
            "shape": [10, 20],
        }
        bits = integers(words, 10, 20)
        real = floats([random_words.uniform(w) for w in words], 10, 20)
        for what, want in (("random_bits", bits), ("uniform", real)):
            yield Case(f"{what}/{name}", what, [], partial(list, [want]), attributes)


def _roots() -> Iterator[Case]:
    tensors = {
        "edges and NaN": floats([*EDGES, *SPECIALS]),
        "no axes": scalar(ONE),
        "empty": filled(0, 0, 3),
        "one leaf": drawn(161, 0, 254, 1024),
        "one leaf and a word": drawn(162, 0, 254, 1025),
        "seven leaves": drawn(163, 0, 254, 7, 1000),
        "int64": integers([0, 1, -1, 2**63 - 1, -(2**63)]),
        "int32": integers([0, 1, -1, 2**31 - 1, -(2**31)], dtype="int32"),
        "int8": integers([0, 1, -1, 127, -128], dtype="int8"),
        "uint8": integers([0, 1, 255], 3, 1, dtype="uint8"),
        "bool": integers([0, 1, 1], dtype="bool"),
    }
    for name, x in tensors.items():
        yield Case(f"tensor_root/{name}", "tensor_root", [x], _root_of(x))
    named = {
        "three": ["weight", "bias", "a.b"],
        "order of bytes": ["Z", "a", "é", "aa", "a.b"],
        "one": ["w"],
        "none": [],
    }
    for name, names in named.items():
        group = [floats([pattern(171 + i, j, 0, 254) for j in range(5)]) for i in range(len(names))]
        root = _result_root(names, group)
        yield Case(f"result_root/{name}", "result_root", group, root, {"names": names})


def _root_of(x: Operand) -> Callable[[], list[Operand]]:
    return lambda: [_digest(roots.tensor_root(x.dtype, x.shape, x.values))]


def _result_root(names: list[str], group: list[Operand]) -> Callable[[], list[Operand]]:
    def compute() -> list[Operand]:
        pairs = zip(names, group, strict=True)
        found = {n: roots.tensor_root(x.dtype, x.shape, x.values) for n, x in pairs}
        return [_digest(roots.result_root(found))]

    return compute


def _digest(root: bytes) -> Operand:
    """Roots are written as 32 bytes."""
    return integers(list(root), dtype="uint8")
