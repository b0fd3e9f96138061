"""Recurrent nets step by step, in place of the library's fused cells and layers.

Replaces `lstm`, `gru`, `rnn_tanh`, `rnn_relu` and their cells above autograd. The inputs of all
steps meet their weights in one GEMM per layer and direction; then one GEMM per step with the
hidden state. Packed sequences are the general case: a padded batch has equal batch sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from protocol.exact.dropout import dropout
from protocol.exact.handlers import Engine

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, Tensor, State], State]


def lstm_cell(i: Tensor, h: Tensor, state: State) -> State:
    """Gates i, f, g, o = inputs + hidden: c = sig(f)*c + sig(i)*tanh(g), h = sig(o)*tanh(c)."""
    enter, keep, candidate, leave = (i + h).chunk(4, -1)
    c = keep.sigmoid() * state[1] + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * c.tanh(), c


def gru_cell(i: Tensor, h: Tensor, state: State) -> State:
    """r, z = sig(inputs + hidden), n = tanh(input + r*hidden), h = n + z*(h - n)."""
    (i_r, i_z, i_n), (h_r, h_z, h_n) = i.chunk(3, -1), h.chunk(3, -1)
    n = (i_n + (i_r + h_r).sigmoid() * h_n).tanh()
    return (n + (i_z + h_z).sigmoid() * (state[0] - n),)


def tanh_cell(i: Tensor, h: Tensor, _: State) -> State:
    """tanh(inputs + hidden)."""
    return ((i + h).tanh(),)


def relu_cell(i: Tensor, h: Tensor, _: State) -> State:
    """relu(inputs + hidden)."""
    return ((i + h).relu(),)


def layers(cell: Cell) -> Callable[..., tuple[Tensor, ...]]:
    """The replacement of a whole net, padded or packed: (output, final states)."""

    def run(engine: Engine, x: Tensor, *args: Any) -> tuple[Tensor, ...]:
        if isinstance(args[2], bool):  # x, state, weights, has_biases, ...: a padded batch
            state, weights, biases, depth, rate, train, both, batch_first = args
            steps = x.transpose(0, 1) if batch_first else x
            sizes = [steps.shape[1]] * steps.shape[0]
            net = _Net(engine, cell, weights, biases, depth, rate if train else 0.0, both)
            y, final = net.run(steps.reshape(-1, steps.shape[-1]), sizes, _states(state))
            y = y.reshape(steps.shape[0], steps.shape[1], y.shape[-1])
            return (y.transpose(0, 1) if batch_first else y, *final)
        sizes, state, weights, biases, depth, rate, train, both = args
        net = _Net(engine, cell, weights, biases, depth, rate if train else 0.0, both)
        y, final = net.run(x, sizes.tolist(), _states(state))
        return (y, *final)

    return run


def single(cell: Cell) -> Callable[..., Any]:
    """The replacement of one cell: the new state."""

    def run(
        _: Engine,
        x: Tensor,
        hx: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        state = _states(hx)
        new = cell(linear(x, w_ih, b_ih), linear(state[0], w_hh, b_hh), state)
        return new if len(new) > 1 else new[0]

    return run


def _states(hx: Any) -> State:
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


@dataclass(frozen=True, slots=True)
class _Net:
    engine: Engine
    cell: Cell
    weights: Sequence[Tensor]
    biases: bool
    depth: int
    rate: float
    both: bool

    def run(self, x: Tensor, sizes: list[int], initial: State) -> tuple[Tensor, State]:
        """Rows of all steps [sum(sizes), D] in, rows and the final states out."""
        directions = 2 if self.both else 1
        per_pass = len(self.weights) // (self.depth * directions)
        finals: list[State] = []
        for layer in range(self.depth):
            outputs = []
            for backwards in range(directions):
                n = layer * directions + backwards
                own = self.weights[n * per_pass : (n + 1) * per_pass]
                state = tuple(s[n] for s in initial)
                y, final = self._pass(x, sizes, own, state, bool(backwards))
                outputs.append(y)
                finals.append(final)
            x = torch.cat(outputs, -1) if self.both else outputs[0]
            if layer < self.depth - 1:
                x = dropout(self.engine, x, self.rate, True)
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def _pass(
        self, x: Tensor, sizes: list[int], own: Sequence[Tensor], initial: State, backwards: bool
    ) -> tuple[Tensor, State]:
        """One layer in one direction. Batch sizes never grow with time, as packing sorts them."""
        w_ih, w_hh = own[:2]
        b_ih, b_hh = own[2:4] if self.biases else (None, None)
        projection = own[-1] if len(own) in (3, 5) else None
        inputs = torch.split(linear(x, w_ih, b_ih), sizes)
        state = tuple(s[:0] for s in initial)
        ended: list[State] = []
        outputs: list[Tensor] = []
        for step in reversed(range(len(sizes))) if backwards else range(len(sizes)):
            state = _resized(state, initial, sizes[step], ended)
            state = self.cell(inputs[step], linear(state[0], w_hh, b_hh), state)
            if projection is not None:
                state = (linear(state[0], projection), *state[1:])
            outputs.append(state[0])
        ended.append(state)
        rows = outputs[::-1] if backwards else outputs
        final = tuple(torch.cat(parts) for parts in zip(*ended[::-1], strict=True))
        return torch.cat(rows), final


def _resized(state: State, initial: State, rows: int, ended: list[State]) -> State:
    """`state` with `rows` rows: sequences that ended are put aside, those that begin join."""
    have = state[0].shape[0]
    if rows < have:
        ended.append(tuple(s[rows:] for s in state))
        return tuple(s[:rows] for s in state)
    if rows > have:
        return tuple(torch.cat([s, i[have:rows]]) for s, i in zip(state, initial, strict=True))
    return state
