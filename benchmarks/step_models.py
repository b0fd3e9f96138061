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


def build(name: str, attention: str) -> Workload:
    """The workload `name`; `attention` is transformers' implementation, 'eager' or 'sdpa'."""
    torch.manual_seed(1)
    return WORKLOADS[name](attention)


def gpt2(attention: str) -> Workload:
    """GPT-2, 768 wide, 4 layers, 4 x 256 tokens of a vocabulary of 8192."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=TOKENS,
        n_embd=GPT2_WIDTH,
        n_layer=GPT2_LAYERS,
        n_head=GPT2_WIDTH // 64,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        loss_type="ForCausalLM",
    )
    return _language_model(GPT2LMHeadModel._from_config(config, attn_implementation=attention))


def llama(attention: str) -> Workload:
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
    return _language_model(LlamaForCausalLM._from_config(config, attn_implementation=attention))


def _language_model(model: nn.Module) -> Workload:
    model.train()
    ids = torch.randint(VOCABULARY, (BATCH, TOKENS))
    return Workload(model, lambda: model(input_ids=ids, labels=ids, use_cache=False).loss)


def mlp(_attention: str) -> Workload:
    """Four layers 1024 wide with ReLU, 1024 rows, cross entropy."""
    layers: list[nn.Module] = []
    for _ in range(MLP_LAYERS):
        layers += [nn.Linear(MLP_WIDTH, MLP_WIDTH), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    x, target = torch.randn(MLP_BATCH, MLP_WIDTH), torch.randint(MLP_WIDTH, (MLP_BATCH,))
    return Workload(model, lambda: nn.functional.cross_entropy(model(x), target))


WORKLOADS: dict[str, Callable[[str], Workload]] = {"gpt2": gpt2, "llama": llama, "mlp": mlp}
