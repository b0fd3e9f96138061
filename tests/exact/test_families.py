"""One training step of every model family: one root whatever computes it, and right gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.support.exact_families import FAMILIES, root, step

# Golden values: only a deliberate change of the profile or of a model may change them.
ROOTS = {
    "gpt2": "d2526a30ea36d4aae126f0752c42c45bdca1f505fdfc02c14e658bd23a4e64d0",
    "gpt2, sdpa": "d2526a30ea36d4aae126f0752c42c45bdca1f505fdfc02c14e658bd23a4e64d0",
    "gpt2, dropout": "34072bcb63361dac2a004c5b92be477f8b894c24fc603fbd09a156bf003119ef",
    "gpt2, checkpointed": "34072bcb63361dac2a004c5b92be477f8b894c24fc603fbd09a156bf003119ef",
    "gpt2, accumulated": "ef9fb035d3068c5014a9253a1eb37f2535bb8b4f0068a2d1ad79ce464fa823de",
    "llama": "7731a621018bc04ed6cfd6cc7a8f9511b5e1cab95aee8b223685f52542cb62f9",
    "llama, sdpa": "7731a621018bc04ed6cfd6cc7a8f9511b5e1cab95aee8b223685f52542cb62f9",
    "qwen2": "7278be165a92e034ccf2f3def08f89f25c17ccca60d93c35fd28e7f5f006fd02",
    "qwen3": "24cf9d8eda86bd007bd65b30c861e2f5533b10cf44d59895a397aa579b822c0d",
    "mixtral": "72959c1e89d1f8a779c8b58f15cacef882af4baa57bdb11c44afb727b36a8264",
    "bert": "90818a9222de748b25d39737d974fd3239036bb4caf4aa5c3b58f0ac1b882830",
    "t5": "9b393bf7734a7a21b30bc2444d70db94b62f4a6279f6cbd56f125c2f220a1e6a",
    "gpt-neox": "b95fc8e2679bbe8437ec535afe5594107a14a93ec26fec4083cf921b855518de",
    "gemma": "db9ed39822c0f9207f1c2d6e925a5a0f7c42f7eb1b119c99062dcf162cf8a826",
    "opt": "2d9f80f7866d2c0a7a650944bda4f1e3443033c60a444bdd70d7e5a17f6bcde2",
    "mamba": "688e55e63fef1c287f0122aa18fdb87825a02626e7e5187a38cb66ca020fefd2",
    "roberta": "0cef26a685fefac84effbc732e60e08270c0fcef58a4a1775ec51f85010cc863",
    "distilbert": "1c50e107e203c4103233adca3d48ad8c7acd4572a0ecfc879897f46ebba13258",
    "vit": "e262b6c84b50d783440139dea9d6b2b7a78ffb7ebac6a5a3183f1c2776771e09",
    "whisper": "c7646220dc2d4a53541078d81cabd70a1c6c148bf34b2f4b07c56fdffc29896a",
    "lstm": "21e0ad4cb3a04377212d4afa8bc03ca39cc5b373ab04bd3542863686a043fb70",
    "packed lstm": "d9d9767982c9e86a479592b422c838debe8b999d166ff2b6663572edc6c351b8",
    "gru": "741d9733f1f922d53ada1fdf56cfd5031585d9501ddda213fe2ec999df325b53",
    "conv1d, group norm": "192cab4472fa78d4cf91745030924b77de87f0deb0ad7128f38b521decaa6fd6",
    "conv2d, batch norm": "0e9f487496f7c46e8a5553dc2b74c10153830a90497837a78bd81655d1767018",
    "batch norm, evaluation": "56020af47e972078abe4ec96fb131aaae17cf6f76c8cd8b71e279604cc676978",
    "dropout": "f5a0f80ad422feb0e5b800cca46e9939afb0bac6b0e82cb0a1ff5dead8839c6f",
    "attention module": "fdb53de2cc472c9e33e886e26f846cb8cd9fbbe22da9b56c1cf340c02d471eb7",
    "encoder and decoder": "c3ca50be35eb6853943e22b7ff9166dcecf739b413ceb49327118d98d425cb88",
    "tied weights": "be047d9878a5b9b4864cb4e9c8e16dd9a7a5a86e4f7f523a8fdfc106257ab422",
    "checkpointed": "5a034672d8f4a8d59ed2d37c311ceef457f9791db91c896d95b1abca6414eafc",
}

RANDOM = ("dropout", "checkpointed", "attention module")
"""Families that drop elements: a binary64 run of the library would drop others."""


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", FAMILIES)
def test_step_has_the_recorded_root(name: str, threads: None) -> None:
    # In this process, as it is; test_step_is_the_same_everywhere changes all that can change.
    torch.set_num_threads(1)
    assert root(name, "float64") == ROOTS[name]
    torch.set_num_threads(2)
    assert root(name) == ROOTS[name]


@pytest.mark.parametrize("name", [n for n in FAMILIES if not any(word in n for word in RANDOM)])
def test_gradients_agree_with_binary64(name: str) -> None:
    module, loss_of = FAMILIES[name]()
    wide = module if name == "mixtral" else module.double()  # its kernel has no binary64
    truth = loss_of(wide)
    truth.backward()
    ours = step(name)
    want = {n: p.grad for n, p in wide.named_parameters() if p.grad is not None}
    scale = min(1.0, 1.0 / torch.cat([g.flatten() for g in want.values()]).norm().item())
    assert torch.isclose(ours["loss"].double(), truth.double(), rtol=2e-3)
    got = torch.cat([ours[f"grad.{n}"].double().flatten() for n in want])
    true = torch.cat([g.flatten() for g in want.values()]) * scale
    error = (got - true).norm() / true.norm()
    assert error < 5e-3, f"relative error {error:.2e}"


def test_attention_of_the_library_and_of_the_model_agree() -> None:
    assert ROOTS["gpt2"] == ROOTS["gpt2, sdpa"]
    assert ROOTS["llama"] == ROOTS["llama, sdpa"]


def test_layers_computed_twice_drop_the_same_elements() -> None:
    assert ROOTS["gpt2, dropout"] == ROOTS["gpt2, checkpointed"]


def test_another_seed_drops_other_elements() -> None:
    assert root("dropout", seed=2) != root("dropout", seed=3)
    assert root("gru", seed=2) == root("gru", seed=3)
