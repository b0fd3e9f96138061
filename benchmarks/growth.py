"""How a cost grows with a size: the exponent of the power law that fits it best."""

from collections.abc import Mapping, Sequence
from math import log

STEEPEST = 1.15
"""An exponent above it is worse than linear, whatever a busy machine adds."""
Row = Mapping[str, float]
"""Costs by name, at one size."""


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of the line through the logarithms, by least squares; costs are positive."""
    xs, ys = [log(size) for size in sizes], [log(cost) for cost in costs]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    across = sum((a - x) ** 2 for a in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / across


def exponents(sizes: Sequence[float], rows: Sequence[Row], least: Row) -> dict[str, float]:
    """Exponent of each cost over the larger half of the sizes, which ascend.

    A cost counts as `least` of its name where it is below: what is next to nothing has no law.
    """
    first = min(len(sizes) // 2, len(sizes) - 2)
    larger, costs = sizes[first:], rows[first:]
    return {
        name: exponent(larger, [max(row[name], floor) for row in costs])
        for name, floor in least.items()
    }


def too_steep(found: Mapping[str, float], most: float = STEEPEST) -> dict[str, float]:
    """The costs that grow faster than allowed, with their exponents."""
    return {name: value for name, value in found.items() if value > most}
