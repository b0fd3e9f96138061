"""Small members of every model family that the engine promises to train, and one step of each.

Parameters and inputs come from integers, so that no generator takes part; models are built from
configurations, never loaded. `FAMILIES` maps a name to a builder of a module and its loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.utils.checkpoint import checkpoint

from protocol.exact import AdamWRow, clip_by_norm, exact, optimise, result_root

Loss = Callable[[nn.Module], Tensor]
Family = tuple[nn.Module, Loss]

VOCABULARY, LENGTH = 48, 12
SEED = 0x5EED_0000_0000_0001

ROW = AdamWRow(0.9999, 0.9, 0.1, 0.999, 0.001, 0.01, 31.622776, 1e-8)


def tokens(rows: int = 2, seed: int = 0) -> Tensor:
    """Token ids [rows, LENGTH], int64, none of them 0."""
    index = torch.arange(rows * LENGTH, dtype=torch.int64) + 31 * seed
    return (index * 7919 % (VOCABULARY - 1) + 1).reshape(rows, LENGTH)


def signal(*shape: int, seed: int = 0) -> Tensor:
    """Multiples of 2^-10 in [-1, 1), binary32."""
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.int64) + 1000003 * seed
    return ((index * 2654435761 >> 7) % 2048 - 1024).float().div(1024).reshape(shape)


def with_plain_weights(module: nn.Module) -> nn.Module:
    """The module with parameters from integers, in training mode."""
    with torch.no_grad():
        for seed, (_, p) in enumerate(sorted(module.named_parameters()), start=1):
            p.copy_(signal(*p.shape, seed=seed) * 0.25)
            if p.ndim == 1:
                p.add_(0.5)
    return module.train()


# Models of transformers, from configurations ------------------------------------------------------

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
    return built, lambda m: m(input_ids=tokens(), labels=tokens()).loss


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
        return model(input_ids=inputs, attention_mask=padding, labels=labels).loss

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


def gpt2_checkpointed() -> Family:
    built, loss = gpt2(dropout=0.25)
    built.activation_checkpointing_enable()
    return built, loss


# Plain modules ------------------------------------------------------------------------------------


class Reader(nn.Module):
    """Embedding with a padding index, a recurrent net, a head."""

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8, padding_idx=0)
        self.net, self.head = net, nn.Linear(width, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.net(self.embedding(ids))[0][:, -1])


def _classified(module: nn.Module, inputs: Tensor) -> Family:
    target = torch.arange(len(inputs)) % 3

    def loss(m: nn.Module) -> Tensor:
        return F.cross_entropy(m(_as_wide_as(m, inputs)), target)

    return with_plain_weights(module), loss


def _as_wide_as(module: nn.Module, x: Tensor) -> Tensor:
    """`x` in the module's float type, so that a binary64 copy can judge the gradients."""
    return x.to(next(module.parameters()).dtype) if x.is_floating_point() else x


def _padded_tokens() -> Tensor:
    ids = tokens(4)[:, :6].clone()
    ids[1, :3] = 0
    return ids


def lstm() -> Family:
    net = nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)
    return _classified(Reader(net, 12), _padded_tokens())


def gru() -> Family:
    return _classified(Reader(nn.GRU(8, 6, batch_first=True), 6), _padded_tokens())


def packed_lstm() -> Family:
    net = nn.LSTM(6, 5, bidirectional=True, proj_size=3)
    lengths = torch.tensor([4, 2, 1])

    def loss(module: nn.Module) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(_as_wide_as(module, signal(4, 3, 6)), lengths)
        y, (h, c) = module(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(y)
        return padded.square().sum() + (h * h).sum() + c.sum()

    return with_plain_weights(net), loss


def conv1d() -> Family:
    net = nn.Sequential(
        nn.Conv1d(4, 8, 3, stride=2, padding=1),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.Conv1d(8, 6, 3, dilation=2, groups=2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    return _classified(net, signal(3, 4, 16))


def conv2d() -> Family:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.SiLU(),
        nn.Conv2d(4, 2, 4, stride=4),
        nn.Flatten(),
        nn.Linear(32, 3),
    )
    return _classified(net, signal(3, 3, 8, 8))


def batch_norm_in_evaluation() -> Family:
    built, loss = conv2d()
    built.requires_grad_()
    built[1].running_mean.copy_(signal(6, seed=5))
    built[1].running_var.copy_(signal(6, seed=6).abs() + 0.5)
    built[1].eval()
    return built, loss


def dropout() -> Family:
    net = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 3))
    return _classified(net, signal(6, 8))


def attention_module() -> Family:
    net = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    return with_plain_weights(net), lambda m: m(_as_wide_as(m, signal(2, 5, 8))).square().mean()


def tied_weights() -> Family:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.mixer = nn.Embedding(VOCABULARY, 8), nn.Linear(8, 8)
            self.head = nn.Linear(8, VOCABULARY, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(torch.tanh(self.mixer(self.embedding(ids))))

    def loss(module: nn.Module) -> Tensor:
        return F.cross_entropy(module(tokens()).flatten(0, 1), tokens(seed=1).flatten())

    return with_plain_weights(Tied()), loss


def checkpointed() -> Family:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self._body, x, use_reentrant=False)

        def _body(self, x: Tensor) -> Tensor:
            return self.second(F.dropout(torch.tanh(self.first(x)), 0.25))

    return _classified(Checkpointed(), signal(6, 8))


FAMILIES: dict[str, Callable[[], Family]] = {
    "gpt2": gpt2,
    "gpt2, sdpa": lambda: gpt2("sdpa"),
    "gpt2, dropout": lambda: gpt2("sdpa", dropout=0.25),
    "gpt2, checkpointed": gpt2_checkpointed,
    "llama": llama,
    "llama, sdpa": lambda: llama("sdpa"),
    "qwen2": qwen2,
    "qwen3": qwen3,
    "mixtral": mixtral,
    "bert": bert,
    "t5": t5,
    "lstm": lstm,
    "packed lstm": packed_lstm,
    "gru": gru,
    "conv1d, group norm": conv1d,
    "conv2d, batch norm": conv2d,
    "batch norm, evaluation": batch_norm_in_evaluation,
    "dropout": dropout,
    "attention module": attention_module,
    "tied weights": tied_weights,
    "checkpointed": checkpointed,
}


def step(name: str, route: str | None = None, seed: int = SEED) -> dict[str, Tensor]:
    """Forward, backward, clip, AdamW of one family under the engine: every output, by name."""
    module, loss_of = FAMILIES[name]()
    parameters = {n: p for n, p in sorted(module.named_parameters()) if p.requires_grad}
    with exact(route=route, seed=seed):
        loss = loss_of(module)
        loss.backward()
        with torch.no_grad():
            gradients = {n: p.grad for n, p in parameters.items() if p.grad is not None}
            clipped, norm = clip_by_norm(list(gradients.values()), 1.0)
            named = dict(zip(gradients, clipped, strict=True))
            values = {n: parameters[n].detach() for n in named}
            new, state = optimise(values, named, {}, ROW)
    buffers = {f"buffer.{n}": b for n, b in module.named_buffers() if b.is_floating_point()}
    grads = {f"grad.{n}": g for n, g in named.items()}
    return {"loss": loss.detach(), "norm": norm} | grads | new | state | buffers


def root(name: str, route: str | None = None, seed: int = SEED) -> str:
    """The result root of a family's step, in hex."""
    return result_root(step(name, route, seed)).hex()
