"""The models whose training step is timed, and one batch for each.

Weights and batches come from a fixed seed, so that every process of a run starts from equal bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

VOCABULARY, BATCH, TOKENS = 8192, 4, 256
GPT2_LAYERS, GPT2_WIDTH = 4, 768
LLAMA_LAYERS, LLAMA_WIDTH = 6, 512
MLP_LAYERS, MLP_WIDTH, MLP_BATCH = 4, 1024, 1024


@dataclass(frozen=True)
class Workload:
    """A model and the loss of one batch."""

    model: nn.Module
    loss: Callable[[], Tensor]


def build(name: str, attention: str, device: torch.device) -> Workload:
    """The workload `name` on a device; `attention` is transformers' own, 'eager' or 'sdpa'."""
    torch.manual_seed(1)
    return WORKLOADS[name](attention, device)


def gpt2(attention: str, device: torch.device) -> Workload:
    """GPT-2, 768 wide, 4 layers, 4 x 256 tokens of a vocabulary of 8192."""
    return _gpt2(GPT2_LAYERS, VOCABULARY, (BATCH, TOKENS), attention, device)


def gpt2_small(attention: str, device: torch.device) -> Workload:
    """GPT-2 small, 124 million parameters, 2 x 1024 tokens: something for a GPU to do."""
    return _gpt2(12, 50257, (2, 1024), attention, device)


def _gpt2(
    layers: int, vocabulary: int, batch: tuple[int, int], attention: str, device: torch.device
) -> Workload:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=batch[1],
        n_embd=GPT2_WIDTH,
        n_layer=layers,
        n_head=GPT2_WIDTH // 64,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        loss_type="ForCausalLM",
    )
    model = GPT2LMHeadModel._from_config(config, attn_implementation=attention)
    return _language_model(model, vocabulary, batch, device)


def llama(attention: str, device: torch.device) -> Workload:
    """Llama, 512 wide, 6 layers, two query heads per key head; the same tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = LLAMA_WIDTH // 64
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=LLAMA_WIDTH,
        intermediate_size=LLAMA_WIDTH * 8 // 3,
        num_hidden_layers=LLAMA_LAYERS,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=TOKENS,
        loss_type="ForCausalLM",
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation=attention)
    return _language_model(model, VOCABULARY, (BATCH, TOKENS), device)


def _language_model(
    model: nn.Module, vocabulary: int, batch: tuple[int, int], device: torch.device
) -> Workload:
    model.train().to(device)
    ids = torch.randint(vocabulary, batch).to(device)
    return Workload(model, lambda: model(input_ids=ids, labels=ids, use_cache=False).loss)


def mlp(_attention: str, device: torch.device) -> Workload:
    """Four layers 1024 wide with ReLU, 1024 rows, cross entropy."""
    layers: list[nn.Module] = []
    for _ in range(MLP_LAYERS):
        layers += [nn.Linear(MLP_WIDTH, MLP_WIDTH), nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(device)
    x = torch.randn(MLP_BATCH, MLP_WIDTH).to(device)
    target = torch.randint(MLP_WIDTH, (MLP_BATCH,)).to(device)
    return Workload(model, lambda: nn.functional.cross_entropy(model(x), target))


WORKLOADS: dict[str, Callable[[str, torch.device], Workload]] = {
    "gpt2": gpt2,
    "llama": llama,
    "mlp": mlp,
    "gpt2-small": gpt2_small,
}
