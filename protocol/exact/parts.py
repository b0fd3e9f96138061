"""How much PyTorch compositions compute at a time where no kernel serves.

A step's tensors are larger than any cache, and a composition walks over its temporaries many times.
Part by part they stay in a core's cache; no element's value depends on the cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

PART: Final = 1 << 17
"""Elements of one part; in binary64 they take a megabyte."""


def whole(x: Tensor, part: int | None = None) -> bool:
    """Whether `x` is computed in one part: it is small, or lies on a GPU."""
    return x.numel() <= (part or PART) or x.device.type != "cpu"


def slices(x: Tensor, axis: int, part: int | None = None) -> int:
    """How many neighbours along `axis` make a part of `x`."""
    return max(1, (part or PART) * x.shape[axis] // x.numel())


def part_by_part(formula: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """`formula` of operands of one shape, where each element stands by itself."""
    return _in_parts(formula, operands, 1)


def by_rows(formula: Callable[..., Tensor], dim: int, *operands: Tensor) -> Tensor:
    """`formula(*operands, dim)`, where each row along `dim` stands by itself.

    Rows along another axis than the last are computed at once.
    """
    x = operands[0]
    if not x.ndim or dim % x.ndim != x.ndim - 1:
        return formula(*operands, dim)
    return _in_parts(lambda *rows: formula(*rows, -1), operands, x.shape[-1])


def split_together(*operands: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of the same elements of each operand, part by part; all at once if some lie apart."""
    if whole(operands[0]) or not all(t.is_contiguous() for t in operands):
        yield operands
        return
    yield from zip(*(torch.split(t.view(-1), PART) for t in operands), strict=True)


def _in_parts(formula: Callable[..., Tensor], operands: Sequence[Tensor], row: int) -> Tensor:
    x = operands[0]
    if whole(x) or any(t.shape != x.shape for t in operands):
        return formula(*operands)
    result = torch.empty(x.shape, dtype=torch.float32)
    size = max(1, PART // row)
    flat = [torch.split(t.reshape(-1, row), size) for t in (*operands, result)]
    for *part, out in zip(*flat, strict=True):
        out.copy_(formula(*part))
    return result
