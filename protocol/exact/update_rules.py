"""Optimisers as functions over named tensors: SGD, Adam, AdamW, Lion, Muon.

    new, state = optimise(parameters, gradients, state, row)

A row holds one step's scalars, which the host computed when the job was written; each rule is a
fixed composition. INVARIANT: nothing is changed in place, and no name depends on another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt as host_sqrt
from typing import Any, Final

import torch
from torch import Tensor

from protocol.exact.compositions import norm2
from protocol.exact.elementwise import binary32, div, max2, mul, sqrt
from protocol.exact.errors import InvalidUpdate
from protocol.exact.optimiser import AdamWRow, adamw
from protocol.exact.profile import Profile
from protocol.exact.route_choice import choose_route

Named = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class SGDRow:
    """`gradient_scale` = 1 - dampening, and 1 at the first step; `decay` is L2, on the gradient."""

    lr: float
    momentum: float = 0.0
    gradient_scale: float = 1.0
    nesterov: bool = False
    decay: float = 0.0


@dataclass(frozen=True, slots=True)
class AdamRow:
    """As `AdamWRow`, but `decay` is L2: it is added to the gradient."""

    decay: float
    beta1: float
    beta1_complement: float
    beta2: float
    beta2_complement: float
    step_size: float
    unbias: float
    eps: float


@dataclass(frozen=True, slots=True)
class LionRow:
    """`decay` = 1 - lr * weight_decay; the complements are 1 - beta."""

    lr: float
    decay: float
    beta1: float
    beta1_complement: float
    beta2: float
    beta2_complement: float


@dataclass(frozen=True, slots=True)
class MuonRow:
    """`decay` = 1 - lr * weight_decay; `a`, `b`, `c` are the Newton-Schulz polynomial."""

    lr: float
    decay: float = 1.0
    momentum: float = 0.95
    nesterov: bool = True
    iterations: int = 5
    a: float = 3.4445
    b: float = -4.775
    c: float = 2.0315
    eps: float = 1e-7


Row = SGDRow | AdamRow | AdamWRow | LionRow | MuonRow


def bias_corrections(beta1: float, beta2: float, step: int) -> tuple[float, float]:
    """(1 / (1 - beta1^step), 1 / sqrt(1 - beta2^step)) for a row's `step_size` and `unbias`.

    Powers are products in binary64 and the root is IEEE's: equal on every host. `step` >= 1.
    """
    power1 = power2 = 1.0
    for _ in range(step):
        power1, power2 = power1 * beta1, power2 * beta2
    return 1.0 / (1.0 - power1), 1.0 / host_sqrt(1.0 - power2)


def sgd(p: Tensor, grad: Tensor, buffer: Tensor, row: SGDRow) -> tuple[Tensor, Tensor]:
    """g = g + wd*p; m = mu*m + scale*g; p - lr*m, with Nesterov p - lr*(g + mu*m)."""
    if row.decay:
        grad = grad + mul(p, row.decay)
    step = grad
    if row.momentum:
        scaled = grad if row.gradient_scale == 1 else mul(grad, row.gradient_scale)
        buffer = mul(buffer, row.momentum) + scaled
        step = grad + mul(buffer, row.momentum) if row.nesterov else buffer
    return p - mul(step, row.lr), buffer


def adam(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, row: AdamRow
) -> tuple[Tensor, Tensor, Tensor]:
    """g = g + wd*p; m = b1*m + b1c*g; v = b2*v + b2c*(g*g); p - s*(m / (sqrt(v)*u + eps))."""
    if row.decay:
        grad = grad + mul(p, row.decay)
    m = mul(m, row.beta1) + mul(grad, row.beta1_complement)
    v = mul(v, row.beta2) + mul(grad * grad, row.beta2_complement)
    denominator = mul(sqrt(v), row.unbias) + binary32(row.eps, v)
    return p - mul(m / denominator, row.step_size), m, v


def lion(p: Tensor, grad: Tensor, m: Tensor, row: LionRow) -> tuple[Tensor, Tensor]:
    """p*d - lr*sign(b1*m + b1c*g); m = b2*m + b2c*g."""
    direction = mul(m, row.beta1) + mul(grad, row.beta1_complement)
    m = mul(m, row.beta2) + mul(grad, row.beta2_complement)
    return mul(p, row.decay) - mul(torch.sign(direction), row.lr), m


def muon(
    p: Tensor, grad: Tensor, m: Tensor, row: MuonRow, profile: Profile | None = None
) -> tuple[Tensor, Tensor]:
    """m = mu*m + g; x = orthogonal(g + mu*m, or m); p*d - (lr*sqrt(max2(rows/columns, 1)))*x.

    For matrices only. Raises InvalidUpdate for other shapes.
    """
    if p.ndim != 2:
        raise InvalidUpdate(f"Muon steps matrices, not {list(p.shape)}; give such names to AdamW")
    m = mul(m, row.momentum) + grad
    direction = grad + mul(m, row.momentum) if row.nesterov else m
    x = orthogonal(direction, row, profile)
    shape = div(binary32(float(p.shape[0]), p), float(p.shape[1]))
    return mul(p, row.decay) - mul(x, mul(sqrt(max2(shape, 1.0)), row.lr)), m


def orthogonal(x: Tensor, row: MuonRow, profile: Profile | None = None) -> Tensor:
    """Newton-Schulz: x = x/(norm + eps); s = x.x^T; x = a*x + (b*s + c*(s.s)).x, repeated.

    A matrix with more rows than columns is transposed before and after.
    """
    resolved = profile or Profile()
    gemm = choose_route(None, resolved, x.device).gemm
    tall = x.shape[0] > x.shape[1]
    x = x.t() if tall else x
    x = x / (norm2(x) + binary32(row.eps, x))
    for _ in range(row.iterations):
        s = gemm(x, x.t(), resolved)
        polynomial = mul(s, row.b) + mul(gemm(s, s, resolved), row.c)
        x = mul(x, row.a) + gemm(polynomial, x, resolved)
    return x.t() if tall else x


_RULES: Final[dict[type, tuple[Sequence[str], Callable[..., tuple[Tensor, ...]]]]] = {
    SGDRow: (("momentum",), sgd),
    AdamRow: (("m", "v"), adam),
    AdamWRow: (("m", "v"), adamw),
    LionRow: (("m",), lion),
    MuonRow: (("momentum",), muon),
}


def optimise(
    parameters: Named, gradients: Named, state: Named, row: Row, profile: Profile | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(new parameters, new state): one step of the row's rule for every name with a gradient.

    `state` maps '<slot>.<name>' to a tensor; absent ones are zeros, so {} begins. `profile`
    matters to Muon only. Raises InvalidUpdate where names or shapes do not match.
    """
    slots, rule = _RULES[type(row)]
    more: tuple[Any, ...] = (row, profile) if rule is muon else (row,)
    new: dict[str, Tensor] = {}
    new_state: dict[str, Tensor] = {}
    for name, gradient in sorted(gradients.items()):
        parameter = parameters.get(name)
        if parameter is None or parameter.shape != gradient.shape:
            have = None if parameter is None else list(parameter.shape)
            raise InvalidUpdate(
                f"{name}: the gradient is {list(gradient.shape)}, the parameter {have}; "
                "pass both under one name"
            )
        zeros = torch.zeros_like(parameter)
        own = [state.get(f"{slot}.{name}", zeros) for slot in slots]
        new[name], *parts = rule(parameter, gradient, *own, *more)
        new_state |= {f"{slot}.{name}": part for slot, part in zip(slots, parts, strict=True)}
    return new, new_state
