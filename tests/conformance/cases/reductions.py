"""Cases of sums, means, scattered sums, extrema and order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod

from tests.conformance.operands import (
    EDGES,
    SPECIALS,
    Case,
    Operand,
    drawn,
    drawn_integers,
    filled,
    filled_integers,
    floats,
    integers,
    scalar,
)
from tests.conformance.reference import reductions
from tests.conformance.reference.binary32 import ONE

RUN = 1 << 21
SCALES = {
    "subnormal": (0, 0),
    "subnormal and normal": (0, 3),
    "ordinary": (110, 130),
    "40 binades": (100, 140),
    "all": (1, 253),
}


def cases() -> Iterator[Case]:
    yield from _sums()
    yield from _long_sums()
    yield from _axes()
    yield from _scattered()
    yield from _extrema()
    yield from _orders()


def _sums() -> Iterator[Case]:
    for name, (low, high) in SCALES.items():
        for count in (1, 2, 3, 64, 257, 4096, 4097):
            yield _flat("sum", f"{count} of scale {name}", drawn(count, low, high, count))
    for name in ("sum", "mean", "norm"):
        yield _flat(name, "nothing", filled(0, 0))
        yield _flat(name, "no axes", scalar(0xBFC00000))
        yield _flat(name, "minus zeros", filled(0x80000000, 5))
        yield _flat(name, "one minus zero", filled(0x80000000, 1))
        yield _flat(name, "the largest twice", filled(0x7F7FFFFF, 2))
        yield _flat(name, "seven ordinary", drawn(71, 120, 130, 7))
        for value in SPECIALS:
            yield _flat(name, f"{value:08x} among ones", filled(ONE, 9, edits=[(4, value)]))
    for value in EDGES:
        yield _flat("sum", f"one {value:08x}", floats([value]))
    grids = {
        "below the grid": [ONE, 0x2A800000, 0xBF800000],  # 2^-42 vanishes beside 1
        "half a grid unit ties to even": [ONE, 0x2B000000, 0xBF800000],
        "three halves of a unit tie to even": [ONE, 0x2BC00000, 0xBF800000],
        "one grid unit": [ONE, 0x2B800000, 0xBF800000],
        "cancels to +0": [ONE, 0x33800000, 0xBF800000, 0xB3800000],
        "ties to even": [0x4B800000, ONE],
        "ties to even, upward": [0x4B800001, ONE],
        "just above a tie": [0x4B800000, ONE, 0x38000000],
    }
    for name, patterns in grids.items():
        yield _flat("sum", name, floats(patterns))
    # 2^53 + 2^29 + 1 grid units: one above a tie that binary64 cannot tell from the tie.
    above = filled(ONE, 8194, edits=[(8192, 0x3A000000 + 0x800000), (8193, 0x2B800000)])
    yield _flat("sum", "beyond binary64, one above a tie", above)
    yield _flat("sum", "2^54 + 2^30 units tie", filled(ONE, 16385, edits=[(16384, 0x3A800000)]))


def _long_sums() -> Iterator[Case]:
    """Runs about 2^21: the longest single one, and the first that is cut."""
    for count in (RUN, RUN + 1):
        yield _flat("sum", f"{count} drawn", drawn(count, 100, 140, count))
        yield _flat("sum", f"{count} ones", filled(ONE, count))
    # A cut run rounds in between: 2^24 + 1, then -2^24 from the second run.
    tail = [(0, 0x4B800000), (1, ONE), (RUN, 0xCB800000)]
    yield _flat("sum", "the cut shows", filled(0, RUN + 1, edits=tail))
    yield _flat("sum", "no cut in one run", filled(0, RUN, edits=[*tail[:2], (9, 0xCB800000)]))
    yield _flat("mean", f"{RUN + 1} drawn", drawn(72, 100, 140, RUN + 1))
    column = drawn(73, 100, 140, RUN + 1, 1)
    index = filled_integers(0, RUN + 1)
    yield _scatter("one place hit 2^21 + 1 times", index, column, 2)


def _flat(operation: str, name: str, x: Operand) -> Case:
    function = {"sum": reductions.sum_, "mean": reductions.mean, "norm": reductions.norm}[operation]
    return Case(f"{operation}/{name}", operation, [x], lambda: [scalar(function(x.values))])


def _axes() -> Iterator[Case]:
    x = drawn(74, 110, 135, 3, 4, 5)
    for axes in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        for name in ("sum", "mean"):
            function = reductions.sum_ if name == "sum" else reductions.mean
            yield Case(f"{name}/axes {axes}", name, [x], _over(x, axes, function), {"axes": axes})
    for shape, axes in (((2, 0), [1]), ((0, 3), [1]), ((0, 3), [0])):
        empty = filled(ONE, *shape)
        compute = _over(empty, axes, reductions.sum_)
        yield Case(f"sum/empty {shape} over {axes}", "sum", [empty], compute, {"axes": axes})


def _over(
    x: Operand, axes: Sequence[int], function: Callable[[Sequence[int]], int]
) -> Callable[[], list[Operand]]:
    """`function` over the named axes; a run is row-major over them."""
    kept = [d for d in range(len(x.shape)) if d not in axes]
    strides = [prod(x.shape[d + 1 :]) for d in range(len(x.shape))]

    def places(dims: Sequence[int]) -> list[int]:
        ranges = [range(x.shape[d]) for d in dims]
        return [
            sum(i * strides[d] for i, d in zip(at, dims, strict=True)) for at in product(*ranges)
        ]

    def compute() -> list[Operand]:
        inner = places(axes)
        values = [function([x.values[p + q] for q in inner]) for p in places(kept)]
        return [Operand("float32", tuple(x.shape[d] for d in kept), values)]

    return compute


def _scattered() -> Iterator[Case]:
    index = integers([3, 0, 3, 3, 1, 0, 3])
    yield _scatter("ordinary", index, drawn(75, 100, 140, 7, 5), 6)
    yield _scatter("all scales", index, drawn(76, 0, 253, 7, 9), 4)
    yield _scatter("subnormal", index, drawn(77, 0, 0, 7, 3), 4)
    yield _scatter("minus zeros", index, filled(0x80000000, 7, 2), 5)
    yield _scatter("nothing", integers([]), filled(0, 0, 3), 4)
    yield _scatter("many", drawn_integers(78, 0, 10, 300), drawn(79, 110, 135, 300, 8), 12)
    for value in SPECIALS:
        yield _scatter(f"{value:08x}", index, filled(ONE, 7, 2, edits=[(5, value)]), 4)


def _scatter(name: str, index: Operand, source: Operand, rows: int) -> Case:
    def compute() -> list[Operand]:
        columns = source.shape[1]
        table = reductions.index_sum(index.values, source.rows, rows)
        flat = [v for row in table for v in (row or [0] * columns)]
        return [floats(flat, rows, columns)]

    return Case(f"index_sum/{name}", "index_sum", [index, source], compute, {"rows": rows})


def _extrema() -> Iterator[Case]:
    runs = {
        "zeros of both signs": floats([0x80000000, 0, 0x80000000, 0]),
        "minus zeros": filled(0x80000000, 3),
        "tiny negative and minus zero": floats([0x80000001, 0x80000000]),
        "ties": floats([ONE, 0x40A00000, 0x40A00000, ONE]),
        "infinities": floats([0xFF800000, ONE, 0x7F800000, 0x7F800000, 0xFF800000]),
        "edges": floats(EDGES),
        "drawn": drawn(81, 0, 254, 300),
        "one": scalar(0xC0490FDB),
    }
    for name, x in runs.items():
        yield from _extremum(name, x)
    for position in (0, 1, 17, 63):
        x = filled(ONE, 64, edits=[(position, 0x7FC00000 + position)])
        yield from _extremum(f"NaN at {position}", x)
    x = drawn(82, 0, 254, 4, 33)
    for name in ("amax", "amin"):
        function = getattr(reductions, name)
        for axes in ([0], [1], [0, 1]):
            yield Case(f"{name}/axes {axes}", name, [x], _over(x, axes, function), {"axes": axes})
    for name in ("argmax", "argmin"):
        compute = _rowwise_index(x, getattr(reductions, name))
        yield Case(f"{name}/rows", name, [x], compute, {"axis": 1})


def _extremum(name: str, x: Operand) -> Iterator[Case]:
    for operation in ("amax", "amin", "argmax", "argmin"):
        yield Case(f"{operation}/{name}", operation, [x], _single(x, operation))


def _single(x: Operand, operation: str) -> Callable[[], list[Operand]]:
    function = getattr(reductions, operation)
    index = operation.startswith("arg")
    return lambda: [Operand("int64" if index else "float32", (), [function(x.values)])]


def _rowwise_index(x: Operand, function: Callable[[Sequence[int]], int]) -> Callable[..., list]:
    return lambda: [integers([function(row) for row in x.rows])]


def _orders() -> Iterator[Case]:
    rows = {
        "zeros of both signs": floats([0x80000000, 0, 0x80000000, 0], 1, 4),
        "ties": floats([ONE, 0x40A00000, 0x40A00000, ONE, ONE, 0x40A00000], 2, 3),
        "edges and infinities": floats([*EDGES, *SPECIALS[:2]], 1, len(EDGES) + 2),
        "drawn": drawn(83, 0, 254, 3, 40),
        "many equal": filled(ONE, 1, 200, edits=[(i, 0x3F000000) for i in range(0, 200, 3)]),
        "NaN": filled(ONE, 2, 3, edits=[(4, 0x7FC00000)]),
    }
    for name, x in rows.items():
        for descending in (False, True):
            attributes = {"axis": 1, "descending": descending}
            title = f"sort/{name}, {'descending' if descending else 'ascending'}"
            yield Case(title, "sort", [x], _sorted(x, x.shape[1], descending), attributes)
            k = (x.shape[1] + 1) // 2
            attributes = {"axis": 1, "k": k, "largest": descending}
            title = f"topk/{name}, {'largest' if descending else 'smallest'}"
            yield Case(title, "topk", [x], _sorted(x, k, descending), attributes)


def _sorted(x: Operand, k: int, descending: bool) -> Callable[[], list[Operand]]:
    def compute() -> list[Operand]:
        found = [reductions.topk(row, k, descending) for row in x.rows]
        values, indices = (
            [v for part in parts for v in part] for parts in zip(*found, strict=True)
        )
        return [floats(values, len(found), k), integers(indices, len(found), k)]

    return compute
