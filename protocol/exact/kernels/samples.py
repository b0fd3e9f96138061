"""Operands that try the row kernels: every scale, both zeros, subnormals, ties, ragged sizes.

They come from integer arithmetic alone, as all self-test operands do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from protocol.exact.adamw_row import AdamWRow
from protocol.exact.hard_cases import hard_cases

Arguments = tuple[Any, ...]

_ROWS, _LENGTH = 70, 517
_EDGES = (0, 0x80000000, 1, 0x80000001, 0x007FFFFF, 0x00800000, 0x3F800000, 0xBF800000, 0x33800000)


def of(name: str) -> Iterator[Arguments]:
    """Positional arguments of the calls that the kernel `name` must answer right."""
    yield from _SAMPLES[name]()


def operand(rows: int, columns: int, seed: int, low: int, high: int) -> Tensor:
    """Binary32 [rows, columns] with exponent fields in [low, high]; row 0 starts with edges."""
    index = torch.arange(rows * columns, dtype=torch.int64) + (seed << 33)
    word = (index * 0x1E3779B97F4A7C15 >> 20) & 0xFFFFFFFF
    word = (word ^ (word >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
    exponent = low + (word >> 9) % (high - low + 1)
    bits = (word & 0x80000000) | exponent << 23 | (word * 0x297A2D39 >> 7 & 0x7FFFFF)
    fitting = [e for e in _EDGES if e >> 23 & 0xFF <= high]
    count = min(len(fitting), bits.numel())
    bits[:count] = torch.tensor(fitting[:count], dtype=torch.int64)
    return bits.to(torch.int32).view(torch.float32).reshape(rows, columns)


def _ordinary(seed: int) -> Tensor:
    return operand(_ROWS, _LENGTH, seed, 105, 130)


def _arguments_of(function: str) -> Iterator[Arguments]:
    """Hard cases, then patterns all over binary32, NaN and infinities included."""
    hard = [argument for argument, _ in hard_cases()[function]]
    spread = [(i * 0x0003FF1B + 0x1234) & 0xFFFFFFFF for i in range(1 << 14)]
    special = [0x7F800000, 0xFF800000, 0x7FC00000, 0x42B17217, 0xC2CFF1B5, *_EDGES]
    bits = torch.tensor([*hard, *special, *spread], dtype=torch.int64)
    yield (bits.to(torch.int32).view(torch.float32),)


def _sums() -> Iterator[Arguments]:
    for low, high in ((0, 0), (100, 150), (1, 254)):
        yield operand(_ROWS, _LENGTH, 1, low, high), 1
        yield operand(_ROWS, _LENGTH, 2, low, high), 0
    # 2^54 + 2^30 + 1 units: just above a tie that a first rounding to binary64 would make exact.
    long = torch.ones(3, (1 << 14) + 2)
    long[:, -2:] = torch.tensor([2.0**-10, 2.0**-40])
    yield long, 1
    yield long.t().contiguous(), 0
    yield operand(6, 40, 4, 90, 130).reshape(3, 2, 40), 1


def _index_sums() -> Iterator[Arguments]:
    index = torch.arange(_ROWS, dtype=torch.int64) ** 2 % 11
    for low, high in ((0, 3), (100, 150), (1, 254)):
        yield index, operand(_ROWS, 77, 5, low, high), 12


def _rowwise() -> Iterator[Arguments]:
    yield _ordinary(6), 1
    yield operand(_ROWS, 33, 7, 0, 120), -1
    masked = _ordinary(8)
    masked[:, 1::3] = -torch.inf
    yield masked, 1


def _rowwise_backward() -> Iterator[Arguments]:
    yield _ordinary(9), _ordinary(10), 1
    yield operand(_ROWS, 33, 11, 0, 90), operand(_ROWS, 33, 12, 0, 90), 1


def _layer_norm() -> Iterator[Arguments]:
    w, b = (operand(1, _LENGTH, seed, 100, 130).reshape(-1) for seed in (13, 14))
    for x in (_ordinary(15), operand(_ROWS, _LENGTH, 16, 0, 60)):
        for weight, bias in ((w, b), (w, None), (None, None)):
            yield x, [_LENGTH], weight, bias, 1e-5


def _layer_norm_backward() -> Iterator[Arguments]:
    w = operand(1, _LENGTH, 17, 100, 130).reshape(-1)
    mu, r = operand(_ROWS, 1, 18, 110, 126), operand(_ROWS, 1, 19, 110, 130)
    for weight in (w, None):
        yield _ordinary(20), _ordinary(21), [_LENGTH], mu, r, weight


def _activation(*modes: str) -> Iterator[Arguments]:
    x = torch.cat([_ordinary(22).reshape(-1), operand(1, 999, 23, 0, 254).reshape(-1)])
    yield (x, *modes)


def _activation_backward(*modes: str) -> Iterator[Arguments]:
    for [x, *_] in _activation():
        yield (operand(1, x.numel(), 24, 100, 130).reshape(-1), x, *modes)


def _anything() -> Iterator[Arguments]:
    """One operand with every scale, NaN and infinities included."""
    for [x] in _arguments_of("exp"):
        yield (x,)


def _output_gradients() -> Iterator[Arguments]:
    yield _ordinary(29), _ordinary(30)
    yield operand(_ROWS, 33, 31, 0, 254), operand(_ROWS, 33, 32, 0, 127)


def _square_sums() -> Iterator[Arguments]:
    for low, high in ((0, 40), (100, 150)):
        yield (operand(_ROWS, _LENGTH, 33, low, high),)
        yield (operand(1, 99, 34, low, high),)
    ones = torch.ones((1 << 14) + 2)  # as in `_sums`: a second rounding would show
    ones[-2:] = torch.tensor([2.0**-5, 2.0**-20])
    yield (ones,)


def _adamw() -> Iterator[Arguments]:
    row = AdamWRow(
        decay=0.9999,
        beta1=0.9,
        beta1_complement=0.1,
        beta2=0.999,
        beta2_complement=0.001,
        step_size=0.01,
        unbias=31.622776,
        eps=1e-8,
    )
    for low, high in ((100, 130), (0, 254)):
        p, g, m, v = (operand(_ROWS, _LENGTH, seed, low, high) for seed in range(25, 29))
        yield p, g, m, v.abs(), row


_SAMPLES = {
    "exp": lambda: _arguments_of("exp"),
    "tanh": lambda: _arguments_of("tanh"),
    "sum_run": _sums,
    "index_sum_run": _index_sums,
    "softmax": _rowwise,
    "softmax_backward": _rowwise_backward,
    "log_softmax": _rowwise,
    "log_softmax_backward": _rowwise_backward,
    "layer_norm": _layer_norm,
    "layer_norm_backward": _layer_norm_backward,
    "gelu": lambda: _activation("tanh"),
    "gelu_backward": lambda: _activation_backward("tanh"),
    "silu": _activation,
    "silu_backward": _activation_backward,
    "adamw": _adamw,
    "sqrt": _anything,
    "relu": _anything,
    "sigmoid": _anything,
    "sigmoid_backward": _output_gradients,
    "tanh_backward": _output_gradients,
    "square_sum": _square_sums,
}
