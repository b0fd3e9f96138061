"""Philox against its published vectors and the reference; draws are addressed, not consumed."""

from __future__ import annotations

import pytest
import torch

from protocol.exact import Draw, exact, random_bits, uniform
from protocol.exact.random import philox
from tests.conformance import reference

# Known answers published with Random123 (philox4x32, 10 rounds).
VECTORS = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "want"), VECTORS)
def test_philox_gives_the_published_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], want: tuple[int, ...]
) -> None:
    assert reference.philox(counter, key) == want
    got = philox([torch.tensor([word]) for word in counter], key)
    assert tuple(int(word) for word in got) == want


def test_random_bits_are_the_first_word_of_each_element() -> None:
    draw = Draw(key=0x0123456789ABCDEF, stream=3, step=70_000, operation=4_000_000_000)
    got = random_bits(draw, [2, 3]).flatten().tolist()
    key = (0x89ABCDEF, 0x01234567)
    want = [reference.philox((3, 70_000, 4_000_000_000, i), key)[0] for i in range(6)]
    assert got == want
    assert random_bits(draw, [6]).tolist() == want
    with exact():
        assert random_bits(draw, [6]).tolist() == want


def test_uniform_is_the_top_24_bits() -> None:
    draw = Draw(key=7)
    bits, real = random_bits(draw, [1000]), uniform(draw, [1000])
    assert real.dtype is torch.float32
    assert real.double().mul(2**24).long().tolist() == (bits >> 8).tolist()
    assert 0.45 < real.mean().item() < 0.55
    assert real.min().item() >= 0.0
    assert real.max().item() < 1.0


@pytest.mark.parametrize("word", ["stream", "step", "operation"])
def test_every_word_of_the_address_matters(word: str) -> None:
    assert not torch.equal(uniform(Draw(7), [8]), uniform(Draw(7, **{word: 1}), [8]))
    with pytest.raises(ValueError, match="32-bit"):
        Draw(7, **{word: 1 << 32})


def test_key_is_64_bits() -> None:
    assert not torch.equal(uniform(Draw(7), [8]), uniform(Draw(7 + (1 << 32)), [8]))
    with pytest.raises(ValueError, match="64-bit"):
        Draw(1 << 64)
