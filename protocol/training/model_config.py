"""The configurations of model families, as plain values without torch.

A manifest carries one of these. A family is added by a frozen dataclass here, an entry in
`FAMILIES`, and the builder of the same name in `model.py`.
INVARIANT: a configuration that parses gives a state whose index fits one block; whether its
tensors fit a machine, the machine decides from the schema. Every float a model takes from the
host is in it, rounded once when the job was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.training.canonical import Node, encode_float

MAX_VOCABULARY: Final = 1 << 18
MAX_POSITIONS: Final = 1 << 16
_ACTIVATIONS: Final = ("gelu", "gelu_new", "gelu_pytorch_tanh")


class FamilyConfig(Protocol):
    """What the rest of the protocol asks of any family's configuration."""

    @property
    def family(self) -> str: ...
    @property
    def vocabulary(self) -> int: ...
    @property
    def positions(self) -> int: ...
    @property
    def layers(self) -> int: ...
    def to_json(self) -> dict[str, object]: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Gpt2Config:
    """GPT-2: `width` is divided among `heads`; the inner layer of a block is 4 times as wide.

    `attention_scale` is 1/sqrt(width / heads) as a binary32 value: no task computes it.
    """

    vocabulary: int
    positions: int
    width: int
    layers: int
    heads: int
    activation: str
    layer_norm_epsilon: float
    attention_scale: float
    family: str = "gpt2"

    def to_json(self) -> dict[str, object]:
        """Return the fields as the manifest carries them, without the family's name."""
        return {
            "activation": self.activation,
            "attention_scale": encode_float(self.attention_scale),
            "heads": self.heads,
            "layer_norm_epsilon": encode_float(self.layer_norm_epsilon),
            "layers": self.layers,
            "positions": self.positions,
            "vocabulary": self.vocabulary,
            "width": self.width,
        }


def read_gpt2(node: Node) -> Gpt2Config:
    """Read the configuration of a GPT-2 model. Raises the document's error."""
    fields = node.fields(
        "activation",
        "attention_scale",
        "heads",
        "layer_norm_epsilon",
        "layers",
        "positions",
        "vocabulary",
        "width",
    )
    config = Gpt2Config(
        vocabulary=fields["vocabulary"].integer(2, MAX_VOCABULARY),
        positions=fields["positions"].integer(1, MAX_POSITIONS),
        width=fields["width"].integer(1, 1 << 14),
        layers=fields["layers"].integer(1, 96),
        heads=fields["heads"].integer(1, 256),
        activation=fields["activation"].choice(*_ACTIVATIONS),
        layer_norm_epsilon=fields["layer_norm_epsilon"].number(2.0**-60, 1.0),
        attention_scale=fields["attention_scale"].number(2.0**-20, 2.0**20),
    )
    if config.width % config.heads:
        fields["heads"].refuse(f"a divisor of the width {config.width}")
    return config


FAMILIES: Final[dict[str, Callable[[Node], FamilyConfig]]] = {"gpt2": read_gpt2}


def read_model(node: Node) -> FamilyConfig:
    """Read `{"family": ..., "config": {...}}`. Raises the document's error."""
    fields = node.fields("config", "family")
    return FAMILIES[fields["family"].choice(*FAMILIES)](fields["config"])


def write_model(config: FamilyConfig) -> dict[str, object]:
    """Return what `read_model` reads."""
    return {"config": config.to_json(), "family": config.family}
