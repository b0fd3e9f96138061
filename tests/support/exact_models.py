"""Small models of transformers, built from configurations and never loaded, each with its loss."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from tests.support.exact_inputs import (
    VOCABULARY,
    Family,
    fit,
    signal,
    tokens,
    with_plain_weights,
)

_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
_GROUPED: dict[str, Any] = _SMALL | {"num_key_value_heads": 2}
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def _language_model(model: Any, config: Any, attention: str = "eager") -> Family:
    built = with_plain_weights(model._from_config(config, attn_implementation=attention))
    return built, lambda m: m(input_ids=fit(m, tokens()), labels=fit(m, tokens())).loss


def gpt2(attention: str = "eager", dropout: float = 0.0) -> Family:
    config = hf.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        loss_type="ForCausalLM",
    )
    return _language_model(hf.GPT2LMHeadModel, config, attention)


def llama(attention: str = "eager") -> Family:
    return _language_model(hf.LlamaForCausalLM, hf.LlamaConfig(**_GROUPED), attention)


def qwen2() -> Family:
    return _language_model(hf.Qwen2ForCausalLM, hf.Qwen2Config(**_GROUPED))


def qwen3() -> Family:
    return _language_model(hf.Qwen3ForCausalLM, hf.Qwen3Config(**_GROUPED, head_dim=8), "sdpa")


def mixtral() -> Family:
    config = hf.MixtralConfig(
        **_GROUPED, num_local_experts=4, num_experts_per_tok=2, output_router_logits=True
    )
    return _language_model(hf.MixtralForCausalLM, config, "sdpa")


def bert() -> Family:
    built, _ = _language_model(hf.BertForMaskedLM, hf.BertConfig(**_SMALL, **_NO_DROPOUT), "sdpa")
    hidden = tokens() % 5 == 0
    padding = torch.ones_like(tokens())
    padding[1, -3:] = 0

    def loss(model: nn.Module) -> Tensor:
        inputs = tokens().masked_fill(hidden, 1)
        labels = tokens().masked_fill(~hidden, -100)
        inputs, mask, labels = (fit(model, t) for t in (inputs, padding, labels))
        return model(input_ids=inputs, attention_mask=mask, labels=labels).loss

    return built, loss


def t5() -> Family:
    config = hf.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=1,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    return _language_model(hf.T5ForConditionalGeneration, config)


def gpt2_accumulated() -> Family:
    built, _ = gpt2()

    def loss(model: nn.Module) -> Tensor:
        first, second = (fit(model, tokens(1, seed=seed)) for seed in (1, 2))
        (model(input_ids=first, labels=first).loss / 2).backward()  # a micro-batch of its own
        return model(input_ids=second, labels=second).loss / 2

    return built, loss


def gpt_neox() -> Family:
    return _language_model(hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig(**_SMALL), "sdpa")


def gemma() -> Family:
    return _language_model(hf.GemmaForCausalLM, hf.GemmaConfig(**_GROUPED, head_dim=8), "sdpa")


def opt() -> Family:
    config = hf.OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=32,
        word_embed_proj_dim=32,
        pad_token_id=0,
        dropout=0.0,
    )
    return _language_model(hf.OPTForCausalLM, config, "sdpa")


def mamba() -> Family:
    config = hf.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=16, state_size=4, num_hidden_layers=1, pad_token_id=0
    )
    built = with_plain_weights(hf.MambaForCausalLM._from_config(config))
    return built, lambda m: m(input_ids=fit(m, tokens()), labels=fit(m, tokens())).loss


def roberta() -> Family:
    config = hf.RobertaConfig(**_SMALL | {"max_position_embeddings": 40}, **_NO_DROPOUT)
    return _language_model(hf.RobertaForMaskedLM, config, "sdpa")


def distilbert() -> Family:
    config = hf.DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=32,
        hidden_dim=48,
        n_layers=1,
        n_heads=4,
        max_position_embeddings=32,
        dropout=0.0,
        attention_dropout=0.0,
    )
    return _language_model(hf.DistilBertForMaskedLM, config, "sdpa")


def vit() -> Family:
    config = hf.ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=16,
        patch_size=4,
        num_labels=3,
        **_NO_DROPOUT,
    )
    built = with_plain_weights(
        hf.ViTForImageClassification._from_config(config, attn_implementation="sdpa")
    )
    labels = torch.tensor([0, 2])
    return (
        built,
        lambda m: m(pixel_values=fit(m, signal(2, 3, 16, 16)), labels=fit(m, labels)).loss,
    )


def whisper() -> Family:
    config = hf.WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=8,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_source_positions=16,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        dropout=0.0,
    )
    built = with_plain_weights(
        hf.WhisperForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    )
    return (
        built,
        lambda m: m(input_features=fit(m, signal(2, 8, 32)), labels=fit(m, tokens())).loss,
    )


def gpt2_checkpointed() -> Family:
    built, loss = gpt2(dropout=0.25)
    built.activation_checkpointing_enable()
    return built, loss
