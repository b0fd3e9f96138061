"""Recurrent cells, normalisations and expert products, bit by bit and by what they mean."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol.exact import UnsupportedOp, exact
from tests.conformance import reference
from tests.conformance.reference.functions import correctly_rounded
from tests.support.exact_tensors import from_bits, patterns, same_bits, to_bits

ONE, MINUS = reference.ONE, 0x80000000


def operand(*shape: int, seed: int) -> Tensor:
    return from_bits(patterns(torch.Size(shape).numel(), seed, (122, 127))).reshape(shape)


def bits_of(scalar: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", scalar))[0])


def filled(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for seed, p in enumerate(module.parameters(), start=40):
            p.copy_(operand(*p.shape, seed=seed) * 0.5)
    return module


# Recurrent nets -----------------------------------------------------------------------------------


def sigmoid(x: int) -> int:
    return reference.div(ONE, reference.add(ONE, correctly_rounded("exp", x ^ MINUS)))


def gates(x: Tensor, h: Tensor, cell: nn.RNNCellBase) -> tuple[list[int], list[int]]:
    """Patterns of inputs and of hidden state after their weights and biases; one row each."""
    found = []
    for row, weight, bias in (
        (x, cell.weight_ih, cell.bias_ih),
        (h, cell.weight_hh, cell.bias_hh),
    ):
        columns = [list(c) for c in zip(*[to_bits(w) for w in weight], strict=True)]
        line = reference.gemm([to_bits(row)], columns)[0]
        found.append([reference.add(v, b) for v, b in zip(line, to_bits(bias), strict=True)])
    return found[0], found[1]


def test_lstm_cell_rounds_at_every_sign() -> None:
    add, mul, tanh = reference.add, reference.mul, lambda x: correctly_rounded("tanh", x)
    cell = filled(nn.LSTMCell(3, 4))
    x, h, c = operand(1, 3, seed=1), operand(1, 4, seed=2), operand(1, 4, seed=3)
    with torch.no_grad(), exact():
        got_h, got_c = cell(x, (h, c))
    total = [add(a, b) for a, b in zip(*gates(x, h, cell), strict=True)]
    for n, before in enumerate(to_bits(c)):
        i, f, g, o = (total[n + 4 * k] for k in range(4))
        after = add(mul(sigmoid(f), before), mul(sigmoid(i), tanh(g)))
        assert to_bits(got_c)[n] == after
        assert to_bits(got_h)[n] == mul(sigmoid(o), tanh(after))


def test_gru_cell_rounds_at_every_sign() -> None:
    add, mul = reference.add, reference.mul
    cell = filled(nn.GRUCell(3, 4))
    x, h = operand(1, 3, seed=4), operand(1, 4, seed=5)
    with torch.no_grad(), exact():
        got = cell(x, h)
    inputs, hidden = gates(x, h, cell)
    for n, before in enumerate(to_bits(h)):
        r, z = (sigmoid(add(inputs[n + 4 * k], hidden[n + 4 * k])) for k in range(2))
        new = correctly_rounded("tanh", add(inputs[n + 8], mul(r, hidden[n + 8])))
        assert to_bits(got)[n] == add(new, mul(z, reference.sub(before, new)))


def test_net_is_its_cell_step_by_step() -> None:
    net, x = filled(nn.GRU(3, 4)), operand(5, 2, 3, seed=6)
    cell = nn.GRUCell(3, 4)
    with torch.no_grad():
        for p, q in zip(cell.parameters(), net.parameters(), strict=True):
            p.copy_(q)
        with exact():
            y, final = net(x)
            h = torch.zeros(2, 4)
            for step, row in enumerate(x):
                h = cell(row, h)
                assert same_bits(y[step], h)
    assert same_bits(final[0], h)


NETS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    "lstm, projected": lambda: nn.LSTM(3, 4, proj_size=2, bidirectional=True),
    "lstm, no bias": lambda: nn.LSTM(3, 4, bias=False, batch_first=True),
    "gru": lambda: nn.GRU(3, 4, num_layers=2, bidirectional=True),
    "tanh": lambda: nn.RNN(3, 4, bidirectional=True),
    "relu": lambda: nn.RNN(3, 4, nonlinearity="relu"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_recurrent_net_agrees_with_binary64(name: str, packed: bool) -> None:
    net, x = filled(NETS[name]()), operand(5, 3, 3, seed=7)
    if packed and net.batch_first:
        x = x.transpose(0, 1)
    results = []
    for cast in (torch.float32, torch.float64):
        own, at = net.to(cast), x.to(cast).requires_grad_()
        with exact() if cast is torch.float32 else torch.enable_grad():
            if packed:
                sequences = nn.utils.rnn.pack_padded_sequence(
                    at, torch.tensor([5, 3, 2]), batch_first=own.batch_first
                )
                y, state = own(sequences)
                y = y.data
            else:
                y, state = own(at)
            states = state if isinstance(state, tuple) else (state,)
            loss = y.square().sum() + sum(s.sum() for s in states)
            results.append([y, *states, *torch.autograd.grad(loss, [at, *own.parameters()])])
    for got, want in zip(*results, strict=True):
        assert (got.double() - want).norm() / want.norm() < 3e-3


def test_layers_drop_between_them() -> None:
    net, x = filled(nn.GRU(3, 4, num_layers=2, dropout=0.5)), operand(5, 2, 3, seed=8)
    with torch.no_grad():
        with exact(seed=1):
            first = net(x)[0]
        with exact(seed=1):
            again = net(x)[0]
        with exact(seed=2):
            other = net(x)[0]
        with exact(), pytest.raises(UnsupportedOp, match="seed") as caught:
            net(x)
        assert caught.value.name == "gru"
        net.eval()
        with exact():
            net(x)
    assert same_bits(first, again)
    assert not same_bits(first, other)


# Normalisation ------------------------------------------------------------------------------------


def test_group_norm_equals_the_reference() -> None:
    x, weight, bias = operand(2, 4, 3, seed=9), operand(4, seed=10), operand(4, seed=11)
    with exact():
        got = F.group_norm(x, 2, weight, bias, 1e-5)
        instances = F.instance_norm(x, weight=weight, bias=bias)
        assert same_bits(instances, F.group_norm(x, 4, weight, bias, 1e-5))
    for n in range(2):
        for group in range(2):
            row = to_bits(x[n, 2 * group : 2 * group + 2])
            per_channel = [
                2 * group,
                2 * group,
                2 * group,
                2 * group + 1,
                2 * group + 1,
                2 * group + 1,
            ]
            own = [[to_bits(t)[c] for c in per_channel] for t in (weight, bias)]
            want = reference.layer_norm(row, *own, bits_of(1e-5))
            assert to_bits(got[n, 2 * group : 2 * group + 2]) == want


def test_batch_norm_in_evaluation_uses_what_is_stored() -> None:
    add, sub, mul, div = reference.add, reference.sub, reference.mul, reference.div
    norm = filled(nn.BatchNorm1d(3)).eval()
    norm.running_mean.copy_(operand(3, seed=12))
    norm.running_var.copy_(operand(3, seed=13).abs())
    x = operand(4, 3, seed=14)
    with torch.no_grad(), exact():
        got = norm(x)
    tensors = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    for column, mean, var, w, b in zip(x.t(), *(to_bits(t) for t in tensors), strict=True):
        r = div(ONE, reference.sqrt(add(var, bits_of(1e-5))))
        channel = int((x.t() == column).all(1).nonzero()[0])
        want = [add(mul(mul(sub(v, mean), r), w), b) for v in to_bits(column)]
        assert to_bits(got[:, channel]) == want


NORMS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.BatchNorm2d(4),
    "batch, evaluation": lambda: nn.BatchNorm2d(4).eval(),
    "batch, plain": lambda: nn.BatchNorm2d(4, affine=False),
    "group": lambda: nn.GroupNorm(2, 4),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalisation_agrees_with_binary64(name: str) -> None:
    x = operand(3, 4, 2, 5, seed=15)
    results = []
    for cast in (torch.float32, torch.float64):
        norm = filled(NORMS[name]()).to(cast)
        at = x.to(cast).requires_grad_()
        with exact() if cast is torch.float32 else torch.enable_grad():
            y = norm(at)
            gradients = torch.autograd.grad((y * y * at).sum(), [at, *norm.parameters()])
        stored = [b for b in norm.buffers() if b.is_floating_point()]
        results.append([y, *gradients, *stored])
    for got, want in zip(*results, strict=True):
        assert (got.double() - want).norm() <= 1e-4 * want.norm()


# Experts ------------------------------------------------------------------------------------------


def test_grouped_product_is_one_product_per_group() -> None:
    a, b = operand(7, 4, seed=16).requires_grad_(), operand(3, 4, 5, seed=17).requires_grad_()
    ends = torch.tensor([2, 2, 6], dtype=torch.int32)
    with exact():
        got = torch._grouped_mm(a, b, offs=ends)
        parts = [a[:2] @ b[0], a[2:2] @ b[1], a[2:6] @ b[2], torch.zeros(1, 5)]
        want = torch.cat(parts)
        assert same_bits(got.detach(), want.detach())
        grad = operand(7, 5, seed=18)
        ours = torch.autograd.grad(got, (a, b), grad)
        theirs = torch.autograd.grad(want, (a, b), grad)
    for mine, other in zip(ours, theirs, strict=True):
        assert same_bits(mine, other)


def test_tokens_are_counted_per_expert() -> None:
    chosen = torch.tensor([3.0, 0.0, 2.0, 3.0, 3.0, 9.0, -1.0])
    with exact():
        counts = torch.histc(chosen, bins=4, min=0, max=3)
        assert counts.tolist() == [1.0, 0.0, 1.0, 3.0]
        assert torch.cumsum(counts, 0, dtype=torch.int32).tolist() == [1, 1, 2, 5]
        with pytest.raises(UnsupportedOp, match="range"):
            torch.histc(chosen, bins=4)
