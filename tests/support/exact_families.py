"""Small members of every model family that the engine promises to train, and one step of each.

`FAMILIES` maps a name to a builder of a module and its loss: models of transformers first, then
plain modules. Modules are built on the CPU and may then move.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.utils.checkpoint import checkpoint

from protocol.exact import AdamWRow, clip_by_norm, exact, optimise, result_root
from tests.support import exact_models as models
from tests.support.exact_inputs import (
    VOCABULARY,
    Family,
    fit,
    signal,
    tokens,
    with_plain_weights,
)

SEED = 0x5EED_0000_0000_0001

ROW = AdamWRow(0.9999, 0.9, 0.1, 0.999, 0.001, 0.01, 31.622776, 1e-8)


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
        return F.cross_entropy(m(fit(m, inputs)), fit(m, target))

    return with_plain_weights(module), loss


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
        packed = nn.utils.rnn.pack_padded_sequence(fit(module, signal(4, 3, 6)), lengths)
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
    return with_plain_weights(net), lambda m: m(fit(m, signal(2, 5, 8))).square().mean()


def transformer() -> Family:
    net = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, activation="gelu", batch_first=True)

    def loss(module: nn.Module) -> Tensor:
        source, target = fit(module, signal(2, 5, 8)), fit(module, signal(2, 4, 8, seed=1))
        mask = nn.Transformer.generate_square_subsequent_mask(4, target.device, target.dtype)
        hidden = torch.tensor([[False] * 5, [False] * 3 + [True] * 2], device=source.device)
        y = module(source, target, tgt_mask=mask, src_key_padding_mask=hidden, tgt_is_causal=True)
        return F.smooth_l1_loss(y, fit(module, signal(2, 4, 8, seed=2)))

    return with_plain_weights(net), loss


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
        predicted = module(fit(module, tokens())).flatten(0, 1)
        return F.cross_entropy(predicted, fit(module, tokens(seed=1)).flatten())

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
    "gpt2": models.gpt2,
    "gpt2, sdpa": lambda: models.gpt2("sdpa"),
    "gpt2, dropout": lambda: models.gpt2("sdpa", dropout=0.25),
    "gpt2, checkpointed": models.gpt2_checkpointed,
    "gpt2, accumulated": models.gpt2_accumulated,
    "llama": models.llama,
    "llama, sdpa": lambda: models.llama("sdpa"),
    "qwen2": models.qwen2,
    "qwen3": models.qwen3,
    "mixtral": models.mixtral,
    "bert": models.bert,
    "t5": models.t5,
    "gpt-neox": models.gpt_neox,
    "gemma": models.gemma,
    "opt": models.opt,
    "mamba": models.mamba,
    "roberta": models.roberta,
    "distilbert": models.distilbert,
    "vit": models.vit,
    "whisper": models.whisper,
    "lstm": lstm,
    "packed lstm": packed_lstm,
    "gru": gru,
    "conv1d, group norm": conv1d,
    "conv2d, batch norm": conv2d,
    "batch norm, evaluation": batch_norm_in_evaluation,
    "dropout": dropout,
    "attention module": attention_module,
    "encoder and decoder": transformer,
    "tied weights": tied_weights,
    "checkpointed": checkpointed,
}


def step(
    name: str, route: str | None = None, seed: int = SEED, device: str = "cpu"
) -> dict[str, Tensor]:
    """Forward, backward, clip, AdamW of one family under the engine: every output, by name."""
    module, loss_of = FAMILIES[name]()
    module.to(device)
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


def root(name: str, route: str | None = None, seed: int = SEED, device: str = "cpu") -> str:
    """The result root of a family's step, in hex."""
    return result_root(step(name, route, seed, device)).hex()
