"""Names and shapes of a model's parameters, from its configuration alone.

Whoever reads a state or a result of strangers needs to know what must be in it; only who computes
needs the model. `model.py` refuses a library whose model has other parameters.
"""

from collections.abc import Callable
from typing import Final

from protocol.training.model_config import FamilyConfig, Gpt2Config

Shapes = dict[str, tuple[int, ...]]


def shapes_of(model: FamilyConfig) -> Shapes:
    """The shape of every parameter in sorted name order, each tied weight once."""
    return dict(sorted(SHAPES[model.family](model).items()))


def _gpt2(model: FamilyConfig) -> Shapes:
    assert isinstance(model, Gpt2Config)
    width = model.width
    # GPT-2 keeps the weights of its products as [in, out].
    products = {
        "attn.c_attn": (1, 3),
        "attn.c_proj": (1, 1),
        "mlp.c_fc": (1, 4),
        "mlp.c_proj": (4, 1),
    }
    shapes: Shapes = {
        "transformer.wte.weight": (model.vocabulary, width),
        "transformer.wpe.weight": (model.positions, width),
    }
    norms = ["transformer.ln_f"]
    for layer in range(model.layers):
        block = f"transformer.h.{layer}"
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        for name, (into, out) in products.items():
            shapes[f"{block}.{name}.weight"] = (into * width, out * width)
            shapes[f"{block}.{name}.bias"] = (out * width,)
    for norm in norms:
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return shapes


SHAPES: Final[dict[str, Callable[[FamilyConfig], Shapes]]] = {"gpt2": _gpt2}
