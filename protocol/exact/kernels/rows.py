"""Row kernels: each function here takes a composition's arguments and returns its bits, or None.

None means "not covered": another device or type, an empty operand, a reduced axis that is not the
last, or an operand that is not finite. The caller then runs the composition.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import partial
from typing import Final

import torch
from torch import Tensor

from protocol.exact.adamw_row import AdamWRow
from protocol.exact.kernels.library import Status, best_level, fresh, library


class Kernel(IntEnum):
    """The kernels' numbers, as `rows.cpp` counts them."""

    EXP = 0
    TANH = 1
    SOFTMAX = 2
    SOFTMAX_BACKWARD = 3
    LOG_SOFTMAX = 4
    LOG_SOFTMAX_BACKWARD = 5
    LAYER_NORM = 6
    LAYER_NORM_BACKWARD = 7
    SUM_ROWS = 8
    SUM_STRIPES = 9
    GELU_TANH = 10
    GELU_TANH_BACKWARD = 11
    SILU = 12
    SILU_BACKWARD = 13
    ADAMW = 14
    INDEX_SUM = 15
    SQRT = 16
    RELU = 17
    SIGMOID = 18
    SIGMOID_BACKWARD = 19
    TANH_BACKWARD = 20
    SQUARE_SUM = 21
    SQUARE_LARGEST = 22
    SQUARE_SUM_PARTS = 23
    FINISH_SUM = 24


_SHARE: Final = 1 << 14  # elements that one thread takes at a time
_STRIPE: Final = 64  # columns summed side by side
_LONGEST_RUN: Final = 1 << 21  # terms of one exact sum
_NARROW: Final = 8  # scattered sums of fewer columns gain nothing

# Bits as in `compositions`: sqrt(2/pi), 0.044715, 0.134145.
_GELU: Final = tuple(map(float.fromhex, ("0x1.988454p-1", "0x1.6e4e26p-5", "0x1.12ba9ep-3")))


def _covered(*tensors: Tensor | None) -> bool:
    return all(
        t is None or (t.dtype is torch.float32 and t.device.type == "cpu" and t.numel() > 0)
        for t in tensors
    )


def _run(
    kernel: Kernel,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    *,
    count: int,
    share: int,
    n: int = 1,
    inner: int = 1,
    scalars: Sequence[float] = (),
) -> bool:
    """Run `kernel` over `count` rows in shares; whether every operand was finite."""
    # The copies are held here until the kernel is done.
    held = [t if t is None else t.contiguous() for t in inputs]
    status = library().rows(
        (kernel, best_level(), torch.get_num_threads()),
        (count, max(1, share), n, inner),
        [0 if t is None else t.data_ptr() for t in held],
        [t.data_ptr() for t in outputs],
        scalars,
    )
    return status is Status.DONE


def _like(x: Tensor) -> Tensor:
    return fresh(x.shape)


def _map(kernel: Kernel, inputs: Sequence[Tensor], scalars: Sequence[float] = ()) -> Tensor | None:
    x = inputs[0]
    if not _covered(*inputs) or any(t.shape != x.shape for t in inputs):
        return None
    out = _like(x)
    _run(kernel, inputs, [out], count=x.numel(), share=_SHARE, scalars=scalars)
    return out


def exp(x: Tensor) -> Tensor | None:
    """Kernel of `functions.exp`."""
    return _map(Kernel.EXP, [x])


def tanh(x: Tensor) -> Tensor | None:
    """Kernel of `functions.tanh`."""
    return _map(Kernel.TANH, [x])


def gelu(x: Tensor, approximate: str = "none") -> Tensor | None:
    """Kernel of `compositions.gelu` by tanh."""
    return _map(Kernel.GELU_TANH, [x], _GELU) if approximate == "tanh" else None


def gelu_backward(grad: Tensor, x: Tensor, approximate: str = "none") -> Tensor | None:
    """Kernel of `compositions.gelu_backward` by tanh."""
    return _map(Kernel.GELU_TANH_BACKWARD, [grad, x], _GELU) if approximate == "tanh" else None


def sqrt(x: Tensor) -> Tensor | None:
    """Kernel of `elementwise.sqrt`."""
    return _map(Kernel.SQRT, [x])


def relu(x: Tensor) -> Tensor | None:
    """Kernel of `elementwise.relu`."""
    return _map(Kernel.RELU, [x])


def sigmoid(x: Tensor) -> Tensor | None:
    """Kernel of `compositions.sigmoid`."""
    return _map(Kernel.SIGMOID, [x])


def sigmoid_backward(grad: Tensor, y: Tensor) -> Tensor | None:
    """Kernel of `compositions.sigmoid_backward`."""
    return _map(Kernel.SIGMOID_BACKWARD, [grad, y])


def tanh_backward(grad: Tensor, y: Tensor) -> Tensor | None:
    """Kernel of `compositions.tanh_backward`."""
    return _map(Kernel.TANH_BACKWARD, [grad, y])


def silu(x: Tensor) -> Tensor | None:
    """Kernel of `compositions.silu`."""
    return _map(Kernel.SILU, [x])


def silu_backward(grad: Tensor, x: Tensor) -> Tensor | None:
    """Kernel of `compositions.silu_backward`."""
    return _map(Kernel.SILU_BACKWARD, [grad, x])


def _last_axis(kernel: Kernel, inputs: Sequence[Tensor], dim: int) -> Tensor | None:
    x = inputs[0]
    if not x.ndim or dim % x.ndim != x.ndim - 1 or not _covered(*inputs):
        return None
    out, n = _like(x), x.shape[-1]
    if n > _LONGEST_RUN or any(t.shape != x.shape for t in inputs):
        return None
    finite = _run(kernel, inputs, [out], count=x.numel() // n, share=_SHARE // n, n=n)
    return out if finite else None


def softmax(x: Tensor, dim: int) -> Tensor | None:
    """Kernel of `compositions.softmax` over the last axis."""
    return _last_axis(Kernel.SOFTMAX, [x], dim)


def softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor | None:
    """Kernel of `compositions.softmax_backward` over the last axis."""
    return _last_axis(Kernel.SOFTMAX_BACKWARD, [grad, y], dim)


def log_softmax(x: Tensor, dim: int) -> Tensor | None:
    """Kernel of `compositions.log_softmax` over the last axis."""
    return _last_axis(Kernel.LOG_SOFTMAX, [x], dim)


def log_softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor | None:
    """Kernel of `compositions.log_softmax_backward` over the last axis."""
    return _last_axis(Kernel.LOG_SOFTMAX_BACKWARD, [grad, y], dim)


def sum_run(x: Tensor, dim: int) -> Tensor | None:
    """Kernel of `reductions._sum_run`: one exact sum along `dim`."""
    if not (x.ndim and _covered(x)):
        return None
    dim %= x.ndim
    n, inner = x.shape[dim], x.shape[dim + 1 :].numel()
    out = torch.empty(x.shape[:dim] + x.shape[dim + 1 :], dtype=torch.float32)
    outer = out.numel() // inner
    if inner == 1:
        finite = _run(Kernel.SUM_ROWS, [x], [out], count=outer, share=_SHARE // n, n=n)
    else:
        stripes = outer * -(-inner // _STRIPE)
        share = _SHARE // (n * min(inner, _STRIPE))
        finite = _run(Kernel.SUM_STRIPES, [x], [out], count=stripes, share=share, n=n, inner=inner)
    return out if finite else None


def index_sum_run(index: Tensor, source: Tensor, rows: int) -> Tensor | None:
    """Kernel of `reductions._index_sum_run`: exact sums of the source rows that hit each row."""
    if not _covered(source) or source.ndim != 2 or source.shape[1] < _NARROW:
        return None
    ordered, order = torch.sort(index)
    if int(ordered[0]) < 0 or int(ordered[-1]) >= rows:
        return None
    first = torch.searchsorted(ordered, torch.arange(rows + 1))
    width = source.shape[1]
    out = torch.empty(rows, width, dtype=torch.float32)
    inputs = [source, order, first]
    share = _SHARE // width
    finite = _run(Kernel.INDEX_SUM, inputs, [out], count=rows, share=share, inner=width)
    return out if finite else None


def layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Kernel of `compositions.layer_norm`."""
    kept = x.ndim - len(shape)
    n = x.shape[kept:].numel()
    if n > _LONGEST_RUN or not _covered(x, weight, bias):
        return None
    y = _like(x)
    mu, r = (torch.empty([*x.shape[:kept], *[1] * len(shape)]) for _ in range(2))
    finite = _run(
        Kernel.LAYER_NORM,
        [x, weight, bias],
        [y, mu, r],
        count=x.numel() // n,
        share=_SHARE // n,
        n=n,
        scalars=(float(n), eps),
    )
    return (y, mu, r) if finite else None


def layer_norm_backward(
    grad: Tensor, x: Tensor, shape: list[int], mu: Tensor, r: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Kernel of `compositions.layer_norm_backward`."""
    kept = x.ndim - len(shape)
    if not kept or not _covered(grad, x, mu, r, weight) or grad.shape != x.shape:
        return None
    n = x.shape[kept:].numel()
    count = x.numel() // n
    if max(n, count) > _LONGEST_RUN:
        return None
    dx, product = _like(x), _like(x)
    finite = _run(
        Kernel.LAYER_NORM_BACKWARD,
        [grad, x, mu, r, weight],
        [dx, product],
        count=count,
        share=_SHARE // n,
        n=n,
        scalars=(float(n),),
    )
    if not finite:
        return None
    dw, db = sum_run(product.reshape(count, n), 0), sum_run(grad.reshape(count, n), 0)
    if dw is None or db is None:
        return None
    return dx, dw.reshape(shape), db.reshape(shape)


def adamw(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, row: AdamWRow
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Kernel of `optimiser.adamw`."""
    outputs = _like(p), _like(p), _like(p)
    return outputs if adamw_into(outputs, p, grad, m, v, row) else None


def adamw_into(
    outputs: Sequence[Tensor], p: Tensor, grad: Tensor, m: Tensor, v: Tensor, row: AdamWRow
) -> bool:
    """Kernel of `optimiser.adamw_`: writes p, m, v; the outputs may be the operands themselves.

    False, and nothing is written, where the operands are not covered.
    """
    inputs = [p, grad, m, v]
    if not _covered(*inputs) or any(t.shape != p.shape for t in inputs):
        return False
    if not all(t.is_contiguous() for t in outputs):
        return False
    scalars = (
        *(row.decay, row.beta1, row.beta1_complement, row.beta2, row.beta2_complement),
        *(row.step_size, row.unbias, row.eps),
    )
    return _run(Kernel.ADAMW, inputs, outputs, count=p.numel(), share=_SHARE, scalars=scalars)


def square_sum(x: Tensor) -> Tensor | None:
    """Kernel of `reductions.square_sum`, up to one run of elements."""
    n = x.numel()
    if not _covered(x) or n > _LONGEST_RUN:
        return None
    out = torch.empty((), dtype=torch.float32)
    if n <= _SHARE:
        return out if _run(Kernel.SQUARE_SUM, [x], [out], count=1, share=1, n=n) else None
    x, parts = x.contiguous(), -(-n // _SHARE)
    largest = torch.empty(parts, dtype=torch.int32)
    run = partial(_run, count=parts, share=1, n=_SHARE, inner=n)
    if not run(Kernel.SQUARE_LARGEST, [x], [largest]):
        return None
    exponent = (largest.max() >> 23).clamp_(min=1).to(torch.int32)
    sums = torch.empty(parts, dtype=torch.int64)
    run(Kernel.SQUARE_SUM_PARTS, [x, exponent], [sums])
    _run(Kernel.FINISH_SUM, [sums.sum(), exponent], [out], count=1, share=1)
    return out
