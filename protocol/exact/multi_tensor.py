"""Handlers of `_foreach` calls: the same single call for every tensor of a list.

Optimisers and clipping of torch use them by themselves on CUDA, so that a training loop reaches
the profile whether it takes the one path or the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from protocol.exact.handlers import Engine, Handler

_REPEATED: Final[dict[str, str]] = {
    "add.List": "add.Tensor",
    "add.Scalar": "add.Scalar",
    "sub.List": "sub.Tensor",
    "sub.Scalar": "sub.Scalar",
    "mul.List": "mul.Tensor",
    "mul.Scalar": "mul.Scalar",
    "mul.Tensor": "mul.Tensor",
    "div.List": "div.Tensor",
    "div.Scalar": "div.Scalar",
    "neg.default": "neg.default",
    "sqrt.default": "sqrt.default",
    "clamp_min.Scalar": "clamp_min.default",
    "clamp_max.Scalar": "clamp_max.default",
}
"""Overload of `_foreach_<name>` -> the call it repeats; each has an in-place variant too."""


def every(computed: Mapping[str, Handler]) -> dict[str, Handler]:
    """'_foreach_<name>.<overload>' -> its handler, made from the handlers of single calls."""
    found = {"_foreach_norm.Scalar": _each(computed["linalg_vector_norm.default"])}
    for name, single in _REPEATED.items():
        packet, overload = name.split(".")
        found[f"_foreach_{packet}.{overload}"] = _each(computed[single])
        found[f"_foreach_{packet}_.{overload}"] = _each_in_place(computed[single])
    return found | {"_foreach_zero_.default": _zero}


def _each(single: Handler) -> Handler:
    """Apply `single` per tensor; a list among the operands is walked along."""

    def handler(engine: Engine, tensors: Sequence[Tensor], *args: Any, **options: Any) -> list[Any]:
        rows = [
            [a[n] if isinstance(a, (list, tuple)) else a for a in args] for n in range(len(tensors))
        ]
        pairs = zip(tensors, rows, strict=True)
        return [single(engine, x, *row, **options) for x, row in pairs]

    return handler


def _each_in_place(single: Handler) -> Handler:
    def handler(engine: Engine, tensors: Sequence[Tensor], *args: Any, **options: Any) -> None:
        results = _each(single)(engine, tensors, *args, **options)
        for x, result in zip(tensors, results, strict=True):
            x.copy_(result)

    return handler


def _zero(_: Engine, tensors: Sequence[Tensor]) -> None:
    for x in tensors:
        x.zero_()
