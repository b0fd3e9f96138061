"""The model, the text and one training run of the quality benchmark.

A byte-level GPT (RMSNorm, SwiGLU, learned positions) on the source of Python's standard library.
All variants of a seed share initial weights, order of the data and settings of AdamW; what differs
is how a step is computed.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol.exact import AdamW, Profile, clip_by_norm, exact

BYTES = 256


@dataclass(frozen=True)
class Settings:
    """Sizes and schedule of a run; equal settings make equal runs."""

    steps: int = 400
    layers: int = 3
    width: int = 96
    heads: int = 4
    context: int = 128
    batch: int = 8
    learning_rate: float = 3e-3
    warmup: int = 20
    evaluate_every: int = 25
    evaluation_batches: int = 16


@dataclass(frozen=True)
class Variant:
    """How steps are computed: stock PyTorch (with autocast or not), or exact with `b` bits."""

    name: str
    b: int | None = None
    autocast: bool = False
    threads: int | None = None


VARIANTS = (
    Variant("stock fp32"),
    Variant("stock fp32, one thread", threads=1),
    Variant("stock bf16 autocast", autocast=True),
    Variant("exact b = 14", b=14),
    Variant("exact b = 16", b=16),
)


class Norm(nn.Module):
    """Root-mean-square norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gain


class Block(nn.Module):
    """Causal attention, then SwiGLU, each behind a norm and around a residual."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        inner = s.width * 8 // 3
        self.heads = s.heads
        self.norm1, self.norm2 = Norm(s.width), Norm(s.width)
        self.qkv = nn.Linear(s.width, 3 * s.width, bias=False)
        self.out = nn.Linear(s.width, s.width, bias=False)
        self.gate_up = nn.Linear(s.width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, s.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, t, w = x.shape
        parts = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, w // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(n, t, w))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    """Bytes to logits of the next byte."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.bytes = nn.Embedding(BYTES, s.width)
        self.positions = nn.Embedding(s.context, s.width)
        self.blocks = nn.Sequential(*(Block(s) for _ in range(s.layers)))
        self.norm = Norm(s.width)
        self.head = nn.Linear(s.width, BYTES, bias=False)
        for embedding in (self.bytes, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean cross entropy of tokens [N, context + 1], in nats per byte."""
        x = self.bytes(tokens[:, :-1]) + self.positions.weight
        logits = self.head(self.norm(self.blocks(x)))
        return F.cross_entropy(logits.reshape(-1, BYTES), tokens[:, 1:].reshape(-1))


@dataclass
class Text:
    """Bytes to train on and bytes set aside."""

    training: Tensor
    held_out: Tensor

    @classmethod
    def of_the_standard_library(cls) -> Text:
        """Every module at its top level; each twentieth file is set aside."""
        files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
        contents = [path.read_bytes() for path in files]
        held = b"".join(contents[::20])
        rest = b"".join(c for i, c in enumerate(contents) if i % 20)
        return cls(*(torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in (rest, held)))

    def batches(self, s: Settings, seed: int) -> Iterator[Tensor]:
        """Training batches [batch, context + 1] without end, int64."""
        return _windows(self.training, s, seed)

    def evaluation(self, s: Settings) -> list[Tensor]:
        """The same held-out batches for every run."""
        windows = _windows(self.held_out, s, seed=0)
        return [next(windows) for _ in range(s.evaluation_batches)]


def _windows(text: Tensor, s: Settings, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(text) - s.context, (s.batch, 1), generator=generator)
        yield text[starts + torch.arange(s.context + 1)].long()


@dataclass
class Curve:
    """Losses of one run: the mean training loss since the last checkpoint, and held-out loss."""

    steps: list[int] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)


def new_model(s: Settings, seed: int) -> Model:
    torch.manual_seed(seed)
    return Model(s)


def arithmetic(variant: Variant) -> AbstractContextManager[object]:
    """The context in which the variant computes a loss and its gradient."""
    if variant.b is not None:
        return exact(Profile(b=variant.b))
    if variant.autocast:
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


def backward(model: Model, tokens: Tensor, variant: Variant) -> float:
    """Fill the gradients; returns the loss."""
    if variant.b is None:
        with arithmetic(variant):
            loss = model.loss(tokens)
        loss.backward()
    else:
        with arithmetic(variant):
            loss = model.loss(tokens)
            loss.backward()
    return loss.item()


def train(
    text: Text, s: Settings, seed: int, variant: Variant, tell: Callable[[str], None]
) -> tuple[Curve, Model]:
    """One run from the seed's initial weights; the weights are judged by stock fp32."""
    model, curve = new_model(s, seed), Curve()
    kind = AdamW if variant.b else torch.optim.AdamW
    optimiser = kind(
        model.parameters(), lr=s.learning_rate, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(s, step))
    held_out, recent = text.evaluation(s), []
    for step, tokens in zip(range(1, s.steps + 1), text.batches(s, seed), strict=False):
        optimiser.zero_grad()
        with _threads(variant.threads):
            recent.append(backward(model, tokens, variant))
            _clip(model, variant)
            optimiser.step()
        schedule.step()
        if step % s.evaluate_every == 0 or step == s.steps:
            curve.steps.append(step)
            curve.training.append(sum(recent) / len(recent))
            curve.held_out.append(evaluate(model, held_out))
            tell(f"{variant.name}, seed {seed}, step {step}: {curve.held_out[-1]:.4f}")
            recent = []
    return curve, model


@torch.no_grad()
def evaluate(model: Model, batches: list[Tensor]) -> float:
    return sum(model.loss(tokens).item() for tokens in batches) / len(batches)


def gradient_error(model: Model, tokens: Tensor, variant: Variant, s: Settings) -> float:
    """Relative L2 distance of the whole gradient from the one computed in binary64."""
    truth = Model(s).double()
    truth.load_state_dict(model.state_dict())
    truth.loss(tokens).backward()
    model.zero_grad()
    backward(model, tokens, variant)
    pairs = list(zip(model.parameters(), truth.parameters(), strict=True))
    wrong = sum((ours.grad.double() - right.grad).square().sum() for ours, right in pairs)
    whole = sum(right.grad.square().sum() for _, right in pairs)
    model.zero_grad()
    return float((wrong / whole).sqrt())


def _rate(s: Settings, step: int) -> float:
    """Linear warm-up, then linearly down to a tenth."""
    if step < s.warmup:
        return (step + 1) / s.warmup
    return 1 - 0.9 * (step - s.warmup) / (s.steps - s.warmup)


def _clip(model: Model, variant: Variant) -> None:
    if variant.b is None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return
    clipped, _ = clip_by_norm([p.grad for p in model.parameters()], 1.0)
    for parameter, gradient in zip(model.parameters(), clipped, strict=True):
        parameter.grad = gradient


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
