"""Exact sums and order-free extrema: every result is a function of the values, never of an order.

A sum rounds its addends to a grid 40 bits below the largest one, adds the integers exactly, and
rounds once. Sums that scatter (index_add, embedding backward) apply the same rule per element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from protocol.exact.contraction import largest_magnitudes, power_of_two64
from protocol.exact.errors import NonFinite
from protocol.exact.kernels import rows
from protocol.exact.kernels.fused import fused
from protocol.exact.parts import slices, whole

RUN: Final = 1 << 21
"""Longest run that one exact sum covers; longer ones are summed run by run."""

# Addends are integers of at most 41 bits: the sum of so many is exact in binary64.
_EXACT_IN_BINARY64: Final = 1 << 12


def sum_(x: Tensor, dim: Sequence[int] | int | None = None, keepdim: bool = False) -> Tensor:
    """Sum over `dim` (all axes when None), rounded once per run; an empty run is +0.

    Raises NonFinite when `x` holds a NaN or an infinity.
    """
    if not x.ndim:
        return sum_(x.reshape(1))
    dims = normalise_dims(dim, x.ndim)
    shape = [1 if d in dims else n for d, n in enumerate(x.shape)]
    if not keepdim:
        shape = [n for d, n in enumerate(x.shape) if d not in dims]
    if not x.numel():
        return x.new_zeros(shape)
    first, last = dims[0], dims[-1]
    run = x.shape[first : last + 1].numel()
    if last - first + 1 == len(dims) and run <= RUN:  # neighbours: one axis, mostly without a copy
        merged = x.reshape(*x.shape[:first], run, *x.shape[last + 1 :])
        return _sum_run(merged, first).reshape(shape)
    kept = [d for d in range(x.ndim) if d not in dims]
    rows = x.permute(*kept, *dims).reshape(*[x.shape[d] for d in kept], -1)
    return _sum_last(rows).reshape(shape)


def square_sum(x: Tensor) -> Tensor:
    """Sum of x * x over all axes, as `sum_` has it: the squares are rounded, then added."""
    if x.numel() <= RUN:
        return _square_sum_run(x)
    flat = x.reshape(-1)
    return sum_(torch.stack([_square_sum_run(run) for run in torch.split(flat, RUN)]))


@fused(rows.square_sum)
def _square_sum_run(x: Tensor) -> Tensor:
    return sum_(x * x)


def mean(x: Tensor, dim: Sequence[int] | int | None = None, keepdim: bool = False) -> Tensor:
    """Sum, then one division by the number of addends."""
    count = 1
    for d in normalise_dims(dim, x.ndim):
        count *= x.shape[d]
    return sum_(x, dim, keepdim) / x.new_tensor(float(count))


def normalise_dims(dim: Sequence[int] | int | None, ndim: int) -> list[int]:
    """Ascending axes named by `dim`; all of them when it is None or empty."""
    if dim is None:
        return list(range(ndim))
    given = [dim] if isinstance(dim, int) else list(dim)
    if not given:
        return list(range(ndim))
    return sorted({d % ndim for d in given}) if ndim else []


def _sum_last(rows: Tensor) -> Tensor:
    if rows.shape[-1] <= RUN:
        return _sum_run(rows, -1)
    whole = rows.shape[-1] // RUN * RUN
    partial = _sum_run(rows[..., :whole].reshape(*rows.shape[:-1], -1, RUN), -1)
    if whole < rows.shape[-1]:
        partial = torch.cat([partial, _sum_run(rows[..., whole:], -1).unsqueeze(-1)], -1)
    return _sum_last(partial)


@fused(rows.sum_run)
def _sum_run(x: Tensor, dim: int) -> Tensor:
    if x.ndim == 0:
        x, dim = x.unsqueeze(0), 0
    others = [d for d in range(x.ndim) if d != dim % x.ndim]
    if whole(x) or not others:
        return _sum_part(x, dim)
    axis = max(others, key=lambda d: x.shape[d])
    parts = [_sum_part(part, dim) for part in torch.split(x, slices(x, axis), axis)]
    return torch.cat(parts, axis - (axis > dim % x.ndim))


def _sum_part(x: Tensor, dim: int) -> Tensor:
    m, _, _ = largest_magnitudes(x, dim, "sum")
    exponent = (m >> 23).clamp_(min=1)
    # 1.5 * 2^52 units of the grid: adding it rounds an addend to the grid, and leaves its integer
    # as what the bits exceed those of 1.5 * 2^52 units. So the bits are added, modulo 2^64.
    offset = (exponent + 908).to(torch.int64).bitwise_left_shift_(52).bitwise_or_(1 << 51)
    shift = offset.view(torch.float64)
    total = offset.squeeze(dim).mul(-x.shape[dim])
    for part in (x,) if whole(x) else torch.split(x, slices(x, dim), dim):
        total += part.to(torch.float64).add_(shift).view(torch.int64).sum(dim)
    unit = power_of_two64(exponent - 167).squeeze(dim)
    if x.shape[dim] <= _EXACT_IN_BINARY64:
        return total.to(torch.float64).mul_(unit).to(torch.float32).add_(0.0)
    return scaled_to_float32(total, unit)


def scaled_to_float32(s: Tensor, unit: Tensor) -> Tensor:
    """RNE32(s * unit) of int64 `s`, `unit` a power of two: one rounding even beyond 2^53.

    Beyond 2^53 the cast to binary64 would round first: the ten low bits are folded into a sticky
    bit, which leaves more than the 26 bits that the final rounding looks at.
    """
    sticky = (s >> 10) | ((s & 1023) != 0)
    wide = s.abs() >= (1 << 53)
    value = torch.where(wide, sticky.to(torch.float64).mul_(1024.0), s.to(torch.float64))
    return value.mul_(unit).to(torch.float32).add_(0.0)


def index_sum(index: Tensor, source: Tensor, rows: int) -> Tensor:
    """For each of `rows` output rows the exact sum of the `source` rows whose index names it.

    `index` int64 [N] in [0, rows), `source` binary32 [N, D]; returns [rows, D], +0 where nothing
    hits. Raises NonFinite as `sum_` does.
    """
    if not index.numel():
        return source.new_zeros(rows, source.shape[1])
    if index.numel() > RUN and int(torch.bincount(index, minlength=rows).max()) > RUN:
        return _index_sum_in_runs(index, source, rows)
    return _index_sum_run(index, source, rows)


@fused(rows.index_sum_run)
def _index_sum_run(index: Tensor, source: Tensor, rows: int) -> Tensor:
    """Rows hit about as often are summed at once, their hits side by side, filled up with zeros."""
    order = torch.argsort(index, stable=True)
    hit, counts = torch.unique_consecutive(index[order], return_counts=True)
    starts = counts.cumsum(0) - counts
    result = source.new_zeros(rows, source.shape[1])
    width = 1
    for _ in range(int(counts.max()).bit_length() + 1):
        chosen = (counts <= width) & (counts > width // 2)
        place = torch.arange(width, device=index.device)
        beyond = place >= counts[chosen].unsqueeze(1)
        places = (starts[chosen].unsqueeze(1) + place).masked_fill_(beyond, 0)
        terms = source[order[places]].masked_fill_(beyond.unsqueeze(2), 0.0)
        if terms.numel():
            result.index_copy_(0, hit[chosen], _sum_run(terms, 1))
        width *= 2
    return result


def _index_sum_in_runs(index: Tensor, source: Tensor, rows: int) -> Tensor:
    """The same when some row is hit more than RUN times: its hits are cut into runs, in order."""
    order = torch.argsort(index, stable=True)
    counts = torch.bincount(index, minlength=rows)
    starts = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(index)
    rank[order] = torch.arange(index.numel(), device=index.device) - starts[index[order]]
    run = rank // RUN
    partial = []
    for number in range(int(run.max()) + 1):
        chosen = run == number
        partial.append(_index_sum_run(index[chosen], source[chosen], rows))
    return sum_(torch.stack(partial), 0)  # rows with fewer runs add +0, which changes nothing


def amax(x: Tensor, dim: Sequence[int] | int | None = None, keepdim: bool = False) -> Tensor:
    """Largest value over `dim`, zero as +0. Raises NonFinite on a NaN."""
    result = torch.amax(x, normalise_dims(dim, x.ndim), keepdim)
    return _ordered("amax", result).add_(0.0)


def amin(x: Tensor, dim: Sequence[int] | int | None = None, keepdim: bool = False) -> Tensor:
    """Smallest value over `dim`, zero as +0. Raises NonFinite on a NaN."""
    result = torch.amin(x, normalise_dims(dim, x.ndim), keepdim)
    return _ordered("amin", result).add_(0.0)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the largest value, the lowest on ties, -0 = +0. Raises NonFinite on a NaN."""
    return _first_extreme(x, dim, keepdim, "argmax")


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the smallest value, the lowest on ties, -0 = +0. Raises NonFinite on a NaN."""
    return _first_extreme(x, dim, keepdim, "argmin")


def _first_extreme(x: Tensor, dim: int | None, keepdim: bool, name: str) -> Tensor:
    if dim is None:
        flat = _first_extreme(x.reshape(-1), 0, False, name)
        return flat.reshape([1] * x.ndim) if keepdim else flat
    if x.ndim == 0:
        return _first_extreme(x.reshape(1), 0, False, name)
    extreme = x.amax(dim, keepdim=True) if name == "argmax" else x.amin(dim, keepdim=True)
    if x.is_floating_point():
        _ordered(name, extreme)
    length = x.shape[dim]
    shape = [1] * x.ndim
    shape[dim] = length
    position = torch.arange(length, device=x.device).reshape(shape)
    return torch.where(x == extreme, position, length).amin(dim, keepdim=keepdim)


def sort(x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Stable sort, -0 = +0; values and indices. Raises NonFinite on a NaN."""
    if x.is_floating_point():
        _ordered("sort", x)
    values, indices = torch.sort(x, dim=dim, descending=descending, stable=True)
    return values, indices


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The `k` extreme values in order, ties by the lowest index. Raises NonFinite on a NaN."""
    values, indices = sort(x, dim, descending=largest)
    return values.narrow(dim, 0, k).contiguous(), indices.narrow(dim, 0, k).contiguous()


def _ordered(op: str, x: Tensor) -> Tensor:
    if bool(torch.isnan(x).any()):
        raise NonFinite(op, "an operand is a NaN")
    return x
