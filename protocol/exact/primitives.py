"""The primitives and compositions as plain functions, for code outside a traced module.

They compute exactly what the engine computes for the matching ATen call, inside or outside
`exact()`. They record no gradient, and say so instead of cutting a graph silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from protocol.exact import (
    compositions,
    contraction,
    elementwise,
    functions,
    optimiser,
    random,
    reductions,
    update_rules,
)
from protocol.exact.dispatch import DTYPES
from protocol.exact.errors import GradientNotRecorded, UnsupportedDtype
from protocol.exact.profile import Profile
from protocol.exact.route_choice import choose_route

P = ParamSpec("P")
R = TypeVar("R")


def _plain(function: Callable[P, R]) -> Callable[P, R]:
    name = function.__name__.strip("_")

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        for t in _tensors((*args, *kwargs.values())):
            if t.dtype not in DTYPES:
                raise UnsupportedDtype(str(t.dtype), name, "a direct call")
            if t.requires_grad and torch.is_grad_enabled():
                raise GradientNotRecorded(name)
        with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
            return function(*args, **kwargs)

    return guarded


def _tensors(values: Iterable[object]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
        elif isinstance(value, Mapping):
            yield from _tensors(value.values())


@_plain
def gemm(
    a: Tensor, b: Tensor, profile: Profile | None = None, *, route: str | None = None
) -> Tensor:
    """Exact `a . b`: binary32 [M, K] by [K, N], or batches [Z, M, K] by [Z, K, N].

    Raises NonFinite on a NaN or an infinity, RouteUnavailable for an unknown route.
    """
    resolved = profile or Profile()
    return contraction.gemm(choose_route(route, resolved, a.device), a, b, resolved)


add = _plain(elementwise.add)
sub = _plain(elementwise.sub)
mul = _plain(elementwise.mul)
div = _plain(elementwise.div)
sqrt = _plain(elementwise.sqrt)
max2 = _plain(elementwise.max2)
min2 = _plain(elementwise.min2)
clamp = _plain(elementwise.clamp)
relu = _plain(elementwise.relu)

exp = _plain(functions.exp)
log = _plain(functions.log)
tanh = _plain(functions.tanh)
erf = _plain(functions.erf)
sin = _plain(functions.sin)
cos = _plain(functions.cos)
log1p = _plain(functions.log1p)
expm1 = _plain(functions.expm1)

sum_ = _plain(reductions.sum_)
mean = _plain(reductions.mean)
amax = _plain(reductions.amax)
amin = _plain(reductions.amin)
argmax = _plain(reductions.argmax)
sort = _plain(reductions.sort)
topk = _plain(reductions.topk)
index_sum = _plain(reductions.index_sum)

sigmoid = _plain(compositions.sigmoid)
silu = _plain(compositions.silu)
gelu = _plain(compositions.gelu)
softmax = _plain(compositions.softmax)
log_softmax = _plain(compositions.log_softmax)
layer_norm = _plain(compositions.layer_norm)
rms_norm = _plain(compositions.rms_norm)

adamw = _plain(optimiser.adamw)
global_norm = _plain(optimiser.global_norm)
clip_by_norm = _plain(optimiser.clip_by_norm)
clip_by_norm_ = _plain(optimiser.clip_by_norm_)
sgd = _plain(update_rules.sgd)
adam = _plain(update_rules.adam)
lion = _plain(update_rules.lion)
muon = _plain(update_rules.muon)
optimise = _plain(update_rules.optimise)
optimise_one_ = _plain(update_rules.optimise_one_)
aggregate = _plain(optimiser.aggregate)

random_bits = _plain(random.random_bits)
uniform = _plain(random.uniform)
