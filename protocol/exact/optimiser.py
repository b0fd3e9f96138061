"""The compositions around a step: clipping by the exact norm, AdamW, aggregation of results.

Scalars never come from a library call inside a task: a job's manifest holds one `AdamWRow` per
optimiser step as hex floats, and they are rounded to binary32 on use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from protocol.exact.adamw_row import AdamWRow as AdamWRow
from protocol.exact.elementwise import binary32, div, min2, mul, sqrt
from protocol.exact.kernels import rows
from protocol.exact.kernels.fused import fused, serves
from protocol.exact.parts import split_together
from protocol.exact.reductions import square_sum, sum_


@fused(rows.adamw)
def adamw(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, row: AdamWRow
) -> tuple[Tensor, Tensor, Tensor]:
    """One AdamW step; the new parameter and moments, none of them in place.

    p = p*d; m = b1*m + b1c*g; v = b2*v + b2c*(g*g); p - s*(m / (sqrt(v)*u + eps)).
    """
    p, m, v = p.clone(), m.clone(), v.clone()
    _adamw_in_place(p, grad, m, v, row)
    return p, m, v


def adamw_(p: Tensor, grad: Tensor, m: Tensor, v: Tensor, row: AdamWRow) -> None:
    """`adamw` in place: p, m and v become the new ones."""
    # Large steps are bound by memory: three new tensors would cost as much as the arithmetic.
    if serves("adamw") and rows.adamw_into((p, m, v), p, grad, m, v, row):
        increment_version((p, m, v))
        return
    for some_p, some_grad, some_m, some_v in split_together(p, grad, m, v):
        _adamw_in_place(some_p, some_grad, some_m, some_v, row)


def _adamw_in_place(p: Tensor, grad: Tensor, m: Tensor, v: Tensor, row: AdamWRow) -> None:
    m.mul_(binary32(row.beta1, m)).add_(mul(grad, row.beta1_complement))
    v.mul_(binary32(row.beta2, v)).add_((grad * grad).mul_(binary32(row.beta2_complement, v)))
    denominator = sqrt(v).mul_(binary32(row.unbias, v)).add_(binary32(row.eps, v))
    update = torch.div(m, denominator).mul_(binary32(row.step_size, p))
    p.mul_(binary32(row.decay, p)).sub_(update)


def clip_by_norm_(tensors: Sequence[Tensor], max_norm: float) -> Tensor:
    """`clip_by_norm` in place; the norm before clipping."""
    norm = global_norm(tensors)
    factor = min2(div(max_norm, norm), 1.0)
    for t in tensors:
        t.mul_(factor)
    return norm


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """sqrt of the sum of all squares: one exact sum per tensor, then one over those sums.

    The order of `tensors` does not matter. Raises NonFinite when a square overflows.
    """
    if not tensors:
        return torch.zeros((), dtype=torch.float32)
    return sqrt(sum_(torch.stack([square_sum(t) for t in tensors])))


def clip_by_norm(tensors: Sequence[Tensor], max_norm: float) -> tuple[list[Tensor], Tensor]:
    """(tensors * min2(max_norm / norm, 1), norm): new tensors, scaled down to `max_norm` at most.

    A zero norm gives the factor min2(Inf, 1) = 1.
    """
    norm = global_norm(tensors)
    factor = min2(div(max_norm, norm), 1.0)
    return [t * factor for t in tensors], norm


def aggregate(results: Sequence[Tensor]) -> Tensor:
    """Exact sum of one tensor over all results, divided by their number; order does not matter."""
    return div(sum_(torch.stack(list(results)), 0), float(len(results)))
