"""Models built from a manifest: ordinary transformers modules over tensors of the job's state.

`program.py` runs them, `bundle.py` reads their tensors from strangers against `schema`.
INVARIANTS: a model is built as a skeleton without storage, so nothing is allocated for a state
before its names, types and shapes were checked; tied weights are one parameter under one name;
no scalar in a model comes from the host's mathematics library, only from the manifest.

State S_r: `param.<name>`, `adam_m.<name>`, `adam_v.<name>` (float32), `step` (int64, the updates
done), `validation_loss` (float32), the last two without dimensions.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from protocol.training.errors import ModelError
from protocol.training.layout import Schema
from protocol.training.model_config import FamilyConfig, Gpt2Config
from protocol.training.shapes import shapes_of

# No model file is ever looked up: everything comes from the manifest and the content store.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

PARAM: Final = "param."
ADAM_M: Final = "adam_m."
ADAM_V: Final = "adam_v."
GRAD: Final = "grad."
STEP: Final = "step"
VALIDATION_LOSS: Final = "validation_loss"
LOSS: Final = "loss"
_AGAIN: Final = "Fetch it again for this job."

Tensors = Mapping[str, Tensor]


class ModelSource(Protocol):
    """What a model is built from: a manifest, or anything else that knows the configuration."""

    @property
    def model(self) -> FamilyConfig: ...


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A model without storage, and how to run it.

    `forward(parameters, tokens, constants)` maps int64 tokens [sequences, length] to float32
    logits [sequences, length, vocabulary]. `constants(length)` are the tensors that depend on
    nothing but the length; they are made outside the numeric engine. `layers` are the modules
    whose outputs the witness names.
    """

    module: nn.Module
    forward: Callable[[Tensors, Tensor, Tensors], Tensor]
    constants: Callable[[int], Tensors]
    layers: tuple[nn.Module, ...]


def skeleton(source: ModelSource) -> Skeleton:
    """Build the model's skeleton; the last few configurations are kept."""
    return _skeleton(source.model)


@functools.lru_cache(maxsize=4)
def _skeleton(config: FamilyConfig) -> Skeleton:
    built = BUILDERS[config.family](config)
    found = {name: tuple(tensor.shape) for name, tensor in built.module.named_parameters()}
    if found != shapes_of(config):
        raise ModelError(
            f"transformers {version('transformers')} builds another {config.family}",
            why=f"These parameters differ: {sorted(found.items() ^ shapes_of(config).items())}.",
            fix="Install the version of transformers that this release asks for.",
        )
    return built


def parameter_shapes(source: ModelSource) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of every parameter in sorted name order, each tied weight once."""
    return shapes_of(source.model)


def schema(source: ModelSource) -> Schema:
    """Return the types and shapes of a state of this job."""
    shapes = parameter_shapes(source)
    entries = {
        f"{kind}{name}": (torch.float32, shape)
        for kind in (PARAM, ADAM_M, ADAM_V)
        for name, shape in shapes.items()
    }
    return entries | {STEP: (torch.int64, ()), VALIDATION_LOSS: (torch.float32, ())}


def result_schema(source: ModelSource) -> Schema:
    """Return the types and shapes of a task's result."""
    shapes = parameter_shapes(source)
    return {f"{GRAD}{name}": (torch.float32, shape) for name, shape in shapes.items()} | {
        LOSS: (torch.float32, ())
    }


def check_tensors(tensors: Tensors, expect: Schema, what: str) -> None:
    """Raise `ModelError` unless names, types and shapes are exactly the expected ones."""
    for name in sorted(tensors.keys() ^ expect.keys()):
        state = "lacks" if name in expect else "has an unknown"
        raise ModelError(f"The {what} {state} tensor {name!r}", fix=_AGAIN)
    for name, (dtype, shape) in expect.items():
        found = tensors[name]
        if found.dtype != dtype or tuple(found.shape) != shape:
            raise ModelError(
                f"The {what} holds {name!r} as {found.dtype} {tuple(found.shape)}, "
                f"the job has {dtype} {shape}",
                fix=_AGAIN,
            )


def parameters_of(source: ModelSource, state: Tensors) -> dict[str, Tensor]:
    """Take the parameters out of a state, by model name in sorted order.

    Raises `ModelError` when the state is not one of this job.
    """
    check_tensors(state, schema(source), "state")
    return {name: state[f"{PARAM}{name}"] for name in parameter_shapes(source)}


def warm_up() -> None:
    """Load what a first computation would wait for: four seconds of a processor, measured."""
    from transformers.models.gpt2 import modeling_gpt2  # noqa: F401


def _gpt2(config: FamilyConfig) -> Skeleton:
    assert isinstance(config, Gpt2Config)
    from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

    # The meta device gives every parameter its shape and none its storage.
    with torch.device("meta"):
        module = GPT2LMHeadModel(gpt2_transformers_config(config))
    for block in module.transformer.h:
        # The library would compute 1/sqrt(d) with the host's pow; the manifest has the bits.
        block.attn.scaling = config.attention_scale

    def forward(parameters: Tensors, tokens: Tensor, constants: Tensors) -> Tensor:
        output = torch.func.functional_call(
            module, dict(parameters), (tokens,), dict(constants), tie_weights=True
        )
        logits: Tensor = output.logits
        return logits

    return Skeleton(module, forward, _gpt2_constants, tuple(module.transformer.h))


@functools.lru_cache(maxsize=4)
def _gpt2_constants(length: int) -> Tensors:
    # Given explicitly, so that the library derives neither from the tokens. The mask is 0 where a
    # query may look and the lowest float where it may not, [1, 1, length, length].
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    mask = torch.zeros(length, length)
    mask[future] = torch.finfo(torch.float32).min
    return {
        "attention_mask": mask[None, None],
        "position_ids": torch.arange(length).unsqueeze(0),
    }


def gpt2_transformers_config(config: Gpt2Config) -> object:
    """Return the transformers configuration of the same model, without any dropout."""
    from transformers.models.gpt2.configuration_gpt2 import GPT2Config

    last = config.vocabulary - 1
    return GPT2Config(
        vocab_size=config.vocabulary,
        n_positions=config.positions,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        activation_function=config.activation,
        layer_norm_epsilon=config.layer_norm_epsilon,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        tie_word_embeddings=True,
        bos_token_id=last,
        eos_token_id=last,
        attn_implementation="eager",
    )


BUILDERS: Final[dict[str, Callable[[FamilyConfig], Skeleton]]] = {"gpt2": _gpt2}
