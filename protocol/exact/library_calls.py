"""Library calls that are replaced above autograd, because devices run different kernels for them.

Attention, recurrent nets, dropout and batch statistics reach ATen as one kernel here and another
there (fused, cuDNN, oneDNN, decomposed). Inside `exact()` each runs as one composition of calls
that the dispatch layer admits, and autograd differentiates that composition. A caller that gets
past this layer meets the allow-list, which refuses the fused kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from types import FunctionType
from typing import Any, Final

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from protocol.exact import attention, batch_norms, dropout, pooling, recurrent

REPLACED: Final[dict[str, tuple[Callable[..., Any], Callable[..., Any]]]] = {
    "scaled_dot_product_attention": (
        functional.scaled_dot_product_attention,
        attention.scaled_dot_product_attention,
    ),
    "dropout": (torch.dropout, dropout.dropout),
    "dropout_": (torch.dropout_, dropout.dropout_in_place),
    "feature_dropout": (torch.feature_dropout, dropout.feature_dropout),
    "batch_norm": (torch.batch_norm, batch_norms.batch_norm),
    "group_norm": (torch.group_norm, batch_norms.group_norm),
    "instance_norm": (torch.instance_norm, batch_norms.instance_norm),
    "max_pool1d": (torch.max_pool1d, pooling.max_pool(1)),
    "max_pool2d": (torch.max_pool2d, pooling.max_pool(2)),
    "max_pool3d": (torch.max_pool3d, pooling.max_pool(3)),
    "avg_pool1d": (torch.avg_pool1d, pooling.avg_pool(1)),
    "avg_pool2d": (functional.avg_pool2d, pooling.avg_pool(2)),
    "avg_pool3d": (functional.avg_pool3d, pooling.avg_pool(3)),
    "adaptive_avg_pool1d": (torch.adaptive_avg_pool1d, pooling.adaptive_avg_pool(1)),
    "adaptive_avg_pool2d": (functional.adaptive_avg_pool2d, pooling.adaptive_avg_pool(2)),
    "adaptive_avg_pool3d": (functional.adaptive_avg_pool3d, pooling.adaptive_avg_pool(3)),
    "adaptive_max_pool1d": (functional.adaptive_max_pool1d, pooling.adaptive_max_pool(1)),
    "adaptive_max_pool2d": (functional.adaptive_max_pool2d, pooling.adaptive_max_pool(2)),
    "adaptive_max_pool3d": (functional.adaptive_max_pool3d, pooling.adaptive_max_pool(3)),
    "rms_norm": (torch.rms_norm, batch_norms.rms_norm),
    "weight_norm": (torch._weight_norm, batch_norms.weight_norm),
    "lstm": (torch.lstm, recurrent.layers(recurrent.lstm_cell)),
    "gru": (torch.gru, recurrent.layers(recurrent.gru_cell)),
    "rnn_tanh": (torch.rnn_tanh, recurrent.layers(recurrent.tanh_cell)),
    "rnn_relu": (torch.rnn_relu, recurrent.layers(recurrent.relu_cell)),
    "lstm_cell": (torch.lstm_cell, recurrent.single(recurrent.lstm_cell)),
    "gru_cell": (torch.gru_cell, recurrent.single(recurrent.gru_cell)),
    "rnn_tanh_cell": (torch.rnn_tanh_cell, recurrent.single(recurrent.tanh_cell)),
    "rnn_relu_cell": (torch.rnn_relu_cell, recurrent.single(recurrent.relu_cell)),
}
"""Name -> (library function, its replacement, which takes the engine first)."""

_BY_FUNCTION: Final = {library: (name, ours) for name, (library, ours) in REPLACED.items()}
_BY_FUNCTION.update(
    # The functions that torch calls these when it asks a mode.
    (getattr(functional, name), _BY_FUNCTION[getattr(torch, name)])
    for name in ("max_pool1d", "max_pool2d", "max_pool3d")
)

_CHECKS: Final = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
_BACKWARD: Final = (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad)

Run = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class LibraryCalls(TorchFunctionMode):
    """Hands replaced calls to `run(name, replacement, args, kwargs)`; others pass."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replace the call, or look for replaced ones inside it, or let it pass."""
        kwargs = kwargs or {}
        found = _BY_FUNCTION.get(func)
        if found is not None:
            return self.run(*found, args, kwargs)
        if _contains_calls(func):
            with self:
                return _unguarded(func)(*args, **kwargs)
        return func(*args, **kwargs)


def _contains_calls(function: Any) -> bool:
    """Whether replaced calls may hide in this Python function of torch."""
    if not isinstance(function, FunctionType):
        return False
    if function.__module__ != functional.__name__ and function not in _BACKWARD:
        return False
    # One that does not ask by itself only hands on, and what it calls would ask in its name.
    return not set(_CHECKS).isdisjoint(function.__code__.co_names)


def _nobody_asks(*_: object) -> bool:
    return False


@lru_cache(maxsize=256)
def _unguarded(function: FunctionType) -> FunctionType:
    """`function` without its first question whether a mode wants the call: one was asked.

    Its body then runs under the mode, which sees the calls inside: attention in a multi-head
    module, dropout in a layer that a backward pass computes again. Asking twice would come back
    here without end.
    """
    names = {**function.__globals__, **dict.fromkeys(_CHECKS, _nobody_asks)}
    copy = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
