"""A stranger's training loop: theirs, unchanged, inside one `with`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol import exact as engine
from protocol.exact import UnsupportedOp, exact, result_root
from tests.support import exact_models as models
from tests.support.exact_families import conv2d
from tests.support.exact_inputs import signal, tokens
from tests.support.exact_tensors import same_bits


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


def small_gpt2() -> nn.Module:
    return models.gpt2()[0]


def adamw_with_muon(model: nn.Module) -> Sequence[torch.optim.Optimizer]:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and ".h." in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or ".h." not in n]
    return engine.Muon(matrices, lr=0.02), engine.AdamW(others, lr=0.01)


OPTIMISERS: dict[str, Callable[[nn.Module], Sequence[torch.optim.Optimizer]]] = {
    "sgd": lambda m: (engine.SGD(m.parameters(), lr=0.1),),
    "sgd, momentum": lambda m: (engine.SGD(m.parameters(), lr=0.1, momentum=0.9),),
    "sgd, nesterov": lambda m: (
        engine.SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adam": lambda m: (engine.Adam(m.parameters(), lr=0.01),),
    "adamw": lambda m: (engine.AdamW(m.parameters(), lr=0.01),),
    "lion": lambda m: (engine.Lion(m.parameters(), lr=0.001, weight_decay=0.1),),
    "muon": adamw_with_muon,
}

# Golden values: only a deliberate change of the profile or of the model may change them.
TRAINED = {
    "sgd": "602c71745e7540bda2e2bda5fd5b845a9b93d3c074592ebf612e89e9da59b8f8",
    "sgd, momentum": "778ac3a85fa4c5f52c2f26103b087eb0ea82010dd7134f1cd3257b567abcbe75",
    "sgd, nesterov": "e57a39ae468b841da5269e215359b977927fa1cf4f7be267ae5e387807ec794c",
    "adam": "f94e9a0caa3dedc7e0f0f95c6489e50d2f3183b779763c3fe31dbd9c3aa5e9f6",
    "adamw": "4ffc28fdf824863000fe838cd1d92a74389cda6b3adedbdb98ca55862033bcbd",
    "lion": "f40d1ab85f9cc363895a9a71bd6f5f5a0d9b9f318b7faab6671687294c42473b",
    "muon": "9885496d2f5eb3c1738d4a223c455d017ea356d5e19065406e87cb2e7f716640",
}


def train_gpt2(name: str, route: str | None) -> str:
    """Two steps of two micro-batches each, as anybody writes them; the root of what came of it."""
    model = small_gpt2()
    optimisers = OPTIMISERS[name](model)
    with exact(route=route):
        for step in range(2):
            for part in range(2):
                ids = tokens(1, seed=2 * step + part)
                (model(input_ids=ids, labels=ids).loss / 2).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser in optimisers:
                optimiser.step()
                optimiser.zero_grad()
    return result_root({n: p.detach() for n, p in model.named_parameters()}).hex()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_trains_a_model_to_its_recorded_root(name: str) -> None:
    assert train_gpt2(name, "float64") == TRAINED[name]
    assert train_gpt2(name, None) == TRAINED[name]


def test_micro_batches_accumulate_by_one_addition_each() -> None:
    model = small_gpt2()
    parts = []
    with exact():
        for seed in range(2):
            ids = tokens(1, seed=seed)
            model(input_ids=ids, labels=ids).loss.backward()
            parts.append({n: p.grad.clone() for n, p in model.named_parameters()})
        model.zero_grad()
        ids = tokens(1, seed=1)
        model(input_ids=ids, labels=ids).loss.backward()
        for n, p in model.named_parameters():
            assert same_bits(parts[1][n], parts[0][n] + p.grad), n


def test_optimisers_that_need_the_hosts_powers_are_refused() -> None:
    model, _ = conv2d()
    for kind in (torch.optim.AdamW, torch.optim.Adam):
        with exact(), pytest.raises(UnsupportedOp, match=r"use AdamW.* of protocol\.exact"):
            train(model, kind(model.parameters()), [signal(4, 3, 8, 8)])
