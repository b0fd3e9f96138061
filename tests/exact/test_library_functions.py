"""What models call beside their layers: activations, losses, statistics, pooling, resampling.

Each runs inside the engine as a stranger writes it. Value and gradients are judged by the library
in binary64, all their bits by one recorded root, and formulas by the reference where a rounding
could hide between two signs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol.exact import NonFinite, UnsupportedOp, exact, result_root, rms_norm
from tests.conformance import reference
from tests.conformance.reference.functions import correctly_rounded
from tests.support.devices import WAYS, device_named, route_of
from tests.support.exact_inputs import signal
from tests.support.exact_tensors import from_bits, layouts, patterns, same_bits, to_bits

ONE, MINUS = reference.ONE, 0x80000000
Call = Callable[[Tensor, Tensor], Tensor]


def image(x: Tensor) -> Tensor:
    return x.reshape(2, 1, 3, 4)


def classes(x: Tensor) -> Tensor:
    return torch.tensor([0, 2, 1, -100], device=x.device)


ACTIVATIONS: dict[str, Call] = {
    "softplus": lambda x, _: F.softplus(x, beta=2, threshold=1.5),
    "logsigmoid": lambda x, _: F.logsigmoid(x),
    "elu": lambda x, _: F.elu(x, 0.7),
    "elu, in place": lambda x, _: F.elu(x * 1.0, 0.7, inplace=True),
    "selu": lambda x, _: F.selu(x),
    "celu": lambda x, _: F.celu(x, 1.3),
    "mish": lambda x, _: F.mish(x),
    "hardtanh": lambda x, _: F.hardtanh(x, -0.4, 0.6),
    "relu6": lambda x, _: F.relu6(x * 9),
    "hardswish": lambda x, _: F.hardswish(x * 5),
    "hardsigmoid": lambda x, _: F.hardsigmoid(x * 5),
    "prelu": lambda x, y: F.prelu(x, y[0, :1]),
    "leaky_relu": lambda x, _: F.leaky_relu(x, 0.1),
    "threshold": lambda x, _: F.threshold(x, 0.25, -3.0),
    "glu": lambda x, _: F.glu(x),
    "softsign": lambda x, _: F.softsign(x),
}

LOSSES: dict[str, Call] = {
    "l1": F.l1_loss,
    "huber": lambda x, y: F.huber_loss(x, y, delta=0.3),
    "smooth l1": lambda x, y: F.smooth_l1_loss(x, y, beta=0.3),
    "smooth l1, none": lambda x, y: F.smooth_l1_loss(x, y, reduction="none"),
    "binary": lambda x, y: F.binary_cross_entropy(
        x.sigmoid(), y.sigmoid().detach(), y.detach() ** 2
    ),
    "binary, logits": lambda x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid()),
    "binary, weighted": lambda x, y: F.binary_cross_entropy_with_logits(
        x, y.sigmoid(), weight=y[:1].detach() ** 2, pos_weight=1 + y[0].detach() ** 2
    ),
    "divergence": lambda x, y: F.kl_div(x.log_softmax(-1), y.softmax(-1), reduction="batchmean"),
    "smoothed labels": lambda x, _: F.cross_entropy(x, classes(x), label_smoothing=0.1),
    "class weights": lambda x, y: F.cross_entropy(x, classes(x), weight=y[0].detach().abs() + 0.5),
    "class weights, none": lambda x, y: F.cross_entropy(
        x, classes(x), weight=y[0].detach().abs() + 0.5, reduction="none"
    ),
    "class weights, smoothed": lambda x, y: F.cross_entropy(
        x, classes(x), weight=y[0].detach().abs() + 0.5, label_smoothing=0.1
    ),
    "soft labels": lambda x, y: F.cross_entropy(x, y.softmax(-1)),
    "classes per place": lambda x, _: F.cross_entropy(x.reshape(2, 3, 4), classes(x).expand(2, 4)),
    "classes per pixel": lambda x, _: F.cross_entropy(
        x.reshape(1, 6, 2, 2), classes(x).reshape(1, 2, 2), reduction="sum"
    ),
    "one sample": lambda x, _: F.cross_entropy(x[0], torch.tensor(2, device=x.device)),
    "triplet": lambda x, y: F.triplet_margin_loss(x, y, x.flip(0)),
    "cosine": lambda x, y: F.cosine_embedding_loss(
        x, y, torch.tensor([1, -1, 1, -1], device=x.device)
    ),
}

STATISTICS: dict[str, Call] = {
    "variance": lambda x, _: x.var(-1),
    "deviation": lambda x, _: x.std(0, correction=0, keepdim=True),
    "deviation of all": lambda x, _: x.std(),
    "variance and mean": lambda x, _: sum(torch.var_mean(x, 1)),
    "deviation and mean": lambda x, _: sum(torch.std_mean(x, (0, 1), keepdim=True)),
    "log of a sum": lambda x, _: x.logsumexp(-1),
    "running sum": lambda x, _: x.cumsum(1),
    "running product": lambda x, _: x.cumprod(0),
    "product": lambda x, _: x.prod(-1),
    "product of all": lambda x, _: (1 + x / 8).prod(),
    "sum of a sum": lambda x, _: x.sum().sum() + x.mean().mean(),
    "extremes": lambda x, _: torch.aminmax(x, dim=1).max - torch.aminmax(x).min,
    "similarity": lambda x, y: F.cosine_similarity(x, y),
    "unit rows": lambda x, _: F.normalize(x, dim=-1),
    "distance": lambda x, y: F.pairwise_distance(x, y),
    "half powers": lambda x, _: (x.abs() + 0.1) ** -0.5 + (x.abs() + 0.1) ** 1.5,
    "powers of a tensor": lambda x, _: (
        x.unsqueeze(-1) ** torch.tensor([0, 1, 2, 3], device=x.device)
    ),
    "einsum": lambda x, y: torch.einsum("nc,mc->nm", x, y),
    "rms norm": lambda x, y: F.rms_norm(x, [6], y[0], 1e-6),
}

PLACES: dict[str, Call] = {
    "reflected": lambda x, _: F.pad(image(x), (1, 2, 1, 1), mode="reflect"),
    "replicated": lambda x, _: F.pad(x.reshape(2, 3, 4), (2, 1), mode="replicate"),
    "wrapped": lambda x, _: F.pad(image(x), (1, 1, 1, 1), mode="circular"),
    "nearest": lambda x, _: F.interpolate(image(x), scale_factor=2),
    "nearest, odd": lambda x, _: F.interpolate(image(x), size=(5, 3)),
    "nearest, centred": lambda x, _: F.interpolate(image(x), size=(5, 3), mode="nearest-exact"),
    "cells": lambda x, _: F.adaptive_avg_pool2d(image(x), (2, 3)),
    "cells, one axis": lambda x, _: F.adaptive_avg_pool1d(x, 4),
    "largest of cells": lambda x, _: F.adaptive_max_pool2d(image(x), (2, 3)),
    "shuffled pixels": lambda x, _: F.pixel_shuffle(x.reshape(1, 4, 2, 3), 2),
    "masked scatter": lambda x, y: x.masked_scatter(torch.ones_like(x).tril().bool(), y),
    "filled": lambda x, _: x.index_fill(1, torch.tensor([0, 3], device=x.device), 2.0),
    "counted": lambda x, _: x * torch.arange(0, 12, 2, dtype=torch.float32, device=x.device),
    "one hot": lambda x, _: x[:3] * F.one_hot(classes(x)[:3], 6),
    "repeated": lambda x, _: x.repeat_interleave(torch.tensor([1, 2, 0, 1], device=x.device), 0),
}

CALLS = ACTIVATIONS | LOSSES | STATISTICS | PLACES


def outcome(name: str, kind: torch.dtype, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The call's value and its operands' gradients."""
    x, y = (signal(4, 6, seed=s).to(device, kind).requires_grad_() for s in (81, 82))
    value = CALLS[name](x, y)
    (value * value * 0.5 + value).sum().backward()
    found = {"value": value, "x": x.grad, "y": y.grad}
    return {key: t.detach() for key, t in found.items() if t is not None}


@pytest.mark.parametrize("name", CALLS)
def test_call_agrees_with_binary64(name: str) -> None:
    with exact():
        ours = outcome(name, torch.float32)
    truth = outcome(name, torch.float64)
    assert ours.keys() == truth.keys()
    for key, want in truth.items():
        assert (ours[key] - want).norm() <= 4e-3 * want.norm(), key


@pytest.mark.parametrize(("name", "route"), WAYS)
def test_calls_have_the_recorded_root_on_every_device_and_route(name: str, route: str) -> None:
    # A golden value: only a deliberate change of the profile or of this list may change it.
    recorded = "0231dfe90c05355f2f98a07241f90d32f2d0096006bc05e3ebab88679255e661"
    device = device_named(name)
    route_of(device, route)
    with exact(route=route):
        found = {
            f"{call}.{key}": t
            for call in CALLS
            for key, t in outcome(call, torch.float32, device).items()
        }
    assert result_root(found).hex() == recorded


@pytest.mark.parametrize("name", [*ACTIVATIONS, *STATISTICS])
def test_layout_of_the_operands_does_not_show(name: str) -> None:
    x, y = signal(4, 6, seed=83), signal(4, 6, seed=84)
    with exact(), torch.no_grad():
        want = CALLS[name](x, y)
        for view in layouts(x).values():
            assert same_bits(CALLS[name](view, y), want)


def test_activations_round_at_every_sign() -> None:
    add, mul, div = reference.add, reference.mul, reference.div
    bits = patterns(400, 85, (118, 130))
    softplus, elu, mish = [], [], []
    for b in bits:
        e = correctly_rounded("exp", b)
        log1p = correctly_rounded("log1p", e)
        positive = not b & MINUS
        softplus.append(b if from_bits([b]).item() > 20 else log1p)
        elu.append(b if positive else mul(correctly_rounded("expm1", b), 0x3F333333))
        mish.append(mul(b, correctly_rounded("tanh", log1p)))
    x = from_bits(bits)
    with exact():
        assert to_bits(F.softplus(x)) == softplus
        assert to_bits(F.elu(x, 0.7)) == elu
        assert to_bits(F.mish(x)) == mish
        a, b = x.chunk(2)
        gate = [div(ONE, add(ONE, correctly_rounded("exp", g ^ MINUS))) for g in to_bits(b)]
        want = [mul(v, g) for v, g in zip(to_bits(a), gate, strict=True)]
        assert to_bits(F.glu(x, 0)) == want


def test_spread_is_two_exact_sums() -> None:
    add, sub, mul, div = reference.add, reference.sub, reference.mul, reference.div
    bits = patterns(33, 86, (110, 130))
    mean = div(reference.sum_(bits), to_bits(torch.tensor([33.0]))[0])
    centred = [sub(b, mean) for b in bits]
    variance = div(reference.sum_([mul(c, c) for c in centred]), to_bits(torch.tensor([32.0]))[0])
    with exact():
        assert to_bits(from_bits(bits).var().reshape(1)) == [variance]
        assert to_bits(from_bits(bits).std().reshape(1)) == [reference.sqrt(variance)]
        running = to_bits(from_bits(bits).cumsum(0))
    for before, b, after in zip(running, bits[1:], running[1:], strict=False):
        assert after == add(before, b)


def test_log_of_a_sum_takes_infinite_rows() -> None:
    x = torch.tensor([[float("-inf"), 0.0], [float("-inf"), float("-inf")]])
    with exact():
        assert x.logsumexp(1).tolist() == [0.0, float("-inf")]
    with exact(), pytest.raises(NonFinite):
        (x + float("nan")).logsumexp(1)


def test_powers_are_chains_of_products() -> None:
    x = from_bits(patterns(60, 87, (120, 132))).abs()
    with exact():
        assert same_bits(x**2.5, (x * x) * x.sqrt())
        assert same_bits(x**-1.5, 1.0 / (x * x.sqrt()))
        table = x.unsqueeze(1) ** torch.tensor([[0, 1, 3, -2]])
        assert same_bits(table[:, 2], x**3)
        assert same_bits(table[:, 3], x**-2)
        assert set(table[:, 0].tolist()) == {1.0}
        with pytest.raises(UnsupportedOp, match="whole and half"):
            x**0.3
        with pytest.raises(UnsupportedOp, match="exp"):
            x**x


def test_floats_in_steps_are_whole_numbers() -> None:
    with exact():
        assert torch.arange(0.0, 5.0, 2.0).tolist() == [0.0, 2.0, 4.0]
        assert torch.arange(3, dtype=torch.float32).dtype is torch.float32
        with pytest.raises(UnsupportedOp, match="whole numbers"):
            torch.arange(0, 1, 0.1)
        with pytest.raises(UnsupportedOp, match="whole numbers"):
            torch.arange(2**24, 2**24 + 4, dtype=torch.float32)


def test_resampling_by_a_crooked_factor_is_refused() -> None:
    with exact(), pytest.raises(UnsupportedOp, match="give a size"):
        F.interpolate(signal(1, 1, 5, 5), scale_factor=1.3)


def test_weight_of_given_norm_follows_its_formula() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4), dim=0)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    with torch.no_grad():
        v.copy_(signal(4, 6, seed=88))
        g.copy_(signal(4, 1, seed=89))
    with exact():
        rows = (v * v).sum(1, keepdim=True).sqrt()
        assert same_bits(layer.weight, v * (g / rows))
        layer(signal(2, 6)).sum().backward()
    assert g.grad is not None


def test_rms_norm_follows_its_formula() -> None:
    x, weight = from_bits(patterns(48, 90, (110, 130))).reshape(2, 24), signal(24, seed=91)
    with exact():
        assert same_bits(F.rms_norm(x, [24], weight, 1e-5), rms_norm(x, [24], weight, 1e-5))
        assert same_bits(
            nn.RMSNorm(24, elementwise_affine=False)(x), F.rms_norm(x, [24], eps=2**-23)
        )


def test_multi_tensor_calls_equal_single_ones() -> None:
    roots = set()
    for foreach in (False, True):
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        with torch.no_grad():
            for seed, p in enumerate(model.parameters()):
                p.copy_(signal(*p.shape, seed=seed))
        optimiser = torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01,
            foreach=foreach,
        )  # fmt: skip
        with exact():
            for _ in range(2):
                optimiser.zero_grad(set_to_none=False)
                F.huber_loss(model(signal(4, 6)), signal(4, 3, seed=9)).backward()
                nn.utils.clip_grad_value_(model.parameters(), 0.05, foreach=foreach)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1, foreach=foreach)
                optimiser.step()
        roots.add(result_root(dict(model.state_dict())))
    assert len(roots) == 1
