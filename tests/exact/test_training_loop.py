"""A stranger's training loop: theirs, unchanged, inside one `with`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol.exact import UnsupportedOp, exact, result_root
from tests.support.exact_families import conv2d, signal


def train(model: nn.Module, optimiser: torch.optim.Optimizer, batches: Sequence[Tensor]) -> None:
    """As anybody writes it: it knows nothing of the engine."""
    for x in batches:
        optimiser.zero_grad()
        for part in x.split(2):  # accumulates
            loss = F.cross_entropy(model(part), torch.arange(len(part)) % 3) / 2
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=False)
        optimiser.step()


def test_plain_loop_has_one_result() -> None:
    roots = set()
    for route in ("float64", "int8"):
        model, _ = conv2d()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        batches = [signal(4, 3, 8, 8, seed=n) for n in range(2)]

        with exact(profile="exact-1", route=route):
            train(model, optimiser, batches)
            roots.add(result_root(dict(model.state_dict())))

    golden = "8cde783fc8df5c706099fe71cf1bc27153a18b16b094b2fb1ef51dd49864eb5e"
    assert {root.hex() for root in roots} == {golden}


def test_optimisers_that_need_the_hosts_powers_are_refused() -> None:
    model, _ = conv2d()
    for kind in (torch.optim.AdamW, torch.optim.Adam):
        with exact(), pytest.raises(UnsupportedOp, match=r"protocol\.exact\.optimise"):
            train(model, kind(model.parameters()), [signal(4, 3, 8, 8)])
