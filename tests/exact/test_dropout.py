"""Dropout: numbers addressed by seed, stream, step and operation; torch's generator untouched."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.utils.checkpoint import checkpoint

from protocol.exact import Draw, InvalidSeed, RandomnessInUse, UnsupportedOp, exact, uniform
from tests.conformance import reference
from tests.support.exact_tensors import from_bits, patterns, same_bits, to_bits

KEY = 0x0123456789ABCDEF
X = from_bits(patterns(24, 1, (100, 140))).reshape(2, 3, 4)


@pytest.mark.parametrize("p", [0.3, 0.15])  # 1 / (1 - 0.15) tells one rounding from two
def test_dropout_equals_the_reference(p: float) -> None:
    keep = reference.rne32(1 - reference.Fraction(p))
    threshold = reference.value(reference.rne32(reference.Fraction(p)))
    with exact(seed=KEY, stream=3, step=9):
        first, second = F.dropout(X, p), F.dropout(X, p)
    for operation, got in enumerate((first, second)):
        for i, (x, y) in enumerate(zip(to_bits(X), to_bits(got), strict=True)):
            word = reference.philox((3, 9, operation, i), (0x89ABCDEF, 0x01234567))[0]
            kept = reference.Fraction(word >> 8, 1 << 24) >= threshold
            noise = reference.div(reference.ONE, keep) if kept else 0
            assert y == reference.mul(x, noise)


def test_number_equal_to_the_probability_is_kept() -> None:
    numbers = uniform(Draw(KEY), [64])
    p = numbers[17].item()
    with exact(seed=KEY):
        kept = F.dropout(torch.ones(64), p) > 0
    assert kept.tolist() == (numbers >= p).tolist()
    assert kept[17].item()


def test_gradient_passes_where_the_value_passed() -> None:
    x = torch.ones(1000, requires_grad=True)
    with exact(seed=1):
        y = F.dropout(x, 0.25)
        y.sum().backward()
    assert x.grad is not None
    assert same_bits(x.grad, y.detach())
    assert 0.7 < (y > 0).float().mean().item() < 0.8


@pytest.mark.parametrize("change", [{"seed": 8}, {"stream": 1}, {"step": 1}])
def test_every_part_of_the_address_matters(change: dict[str, int]) -> None:
    address = {"seed": 7, "stream": 0, "step": 0}
    results = []
    for own in (address, address, address | change):
        with exact(**own):
            results.append(F.dropout(torch.ones(64), 0.5))
    assert same_bits(results[0], results[1])
    assert not same_bits(results[0], results[2])


def test_nothing_is_drawn_where_nothing_can_drop() -> None:
    x = torch.ones(8)
    with exact(seed=2):
        assert F.dropout(x, 0.5, training=False) is x
        assert F.dropout(x, 0.0) is x
        first = F.dropout(x, 0.5)
    with exact(seed=2):
        assert same_bits(F.dropout(x, 0.5), first)
        assert to_bits(F.dropout(-x, 1.0)) == [0x80000000] * 8


def test_channels_drop_whole_and_in_place() -> None:
    x = torch.ones(4, 8, 5)
    with exact(seed=3):
        y = F.dropout1d(x, 0.5)
        z = x.clone()
        assert nn.Dropout(0.5, inplace=True)(z) is z
    assert set(y.sum(2).flatten().tolist()) == {0.0, 10.0}
    assert set(z.flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layer_drops_the_same_elements_again(reentrant: bool) -> None:
    weight = from_bits(patterns(64, 5, (120, 127))).reshape(8, 8)

    def run(twice: bool) -> tuple[Tensor, Tensor]:
        w = weight.clone().requires_grad_()
        x = torch.ones(8, 8, requires_grad=True)

        def layer(x: Tensor) -> Tensor:
            return F.dropout((x @ w).tanh(), 0.5)

        with exact(seed=6):
            y = checkpoint(layer, x, use_reentrant=reentrant) if twice else layer(x)
            F.dropout(y, 0.25).square().sum().backward()
            after = F.dropout(torch.ones(32), 0.5)
        assert w.grad is not None
        return w.grad, after

    for once, again in zip(run(False), run(True), strict=True):
        assert same_bits(once, again)


def test_generator_of_torch_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    with exact(seed=1):
        F.dropout(torch.ones(8), 0.5)
    assert torch.equal(torch.rand(3), want)


def test_dropout_without_a_seed_is_refused() -> None:
    with exact(), pytest.raises(UnsupportedOp, match=r"exact\(seed=") as caught:
        nn.Dropout(0.1)(X)
    assert caught.value.name == "dropout"
    assert caught.value.shapes[0] == "float32[2, 3, 4]"
    assert caught.value.where.startswith(__file__)


@pytest.mark.parametrize("bad", [{"seed": -1}, {"seed": 1 << 64}, {"seed": 0, "step": 1 << 32}])
def test_address_out_of_range_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(InvalidSeed), exact(**bad):
        pass


def test_seeding_torch_inside_is_refused() -> None:
    with exact(seed=1):
        torch.manual_seed(0)
        with pytest.raises(InvalidSeed, match="manual_seed"):
            F.dropout(torch.ones(8), 0.5)


def test_one_thread_draws_at_a_time() -> None:
    failures: list[Exception] = []

    def draw() -> None:
        try:
            with exact(seed=2):
                pass
        except RandomnessInUse as error:
            failures.append(error)

    with exact(seed=1):
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
    assert len(failures) == 1
    draw()
    assert len(failures) == 1


def test_nested_blocks_draw_their_own_numbers() -> None:
    x = torch.ones(32)
    with exact(seed=1):
        outer = [F.dropout(x, 0.5)]
        with exact(seed=2):
            inner = F.dropout(x, 0.5)
        outer.append(F.dropout(x, 0.5))
    with exact(seed=1):
        assert all(same_bits(F.dropout(x, 0.5), want) for want in outer)
    assert same_bits(inner, (uniform(Draw(2), [32]) >= 0.5) * 2.0)
