"""Optimisers as functions over named tensors: SGD, Adam, AdamW, Lion, Muon.

    new, state = optimise(parameters, gradients, state, row)

A row holds one step's scalars (`scalars.py` makes them); each rule is a fixed composition.
INVARIANT: no name depends on another; only a function whose name ends in _ changes its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from protocol.exact import contraction
from protocol.exact.compositions import norm2
from protocol.exact.elementwise import binary32, div, max2, mul, sqrt
from protocol.exact.errors import InvalidUpdate
from protocol.exact.optimiser import AdamWRow, adamw, adamw_
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
    return adamw(p, _with_decay(p, grad, row), m, v, _as_adamw(row))


def _with_decay(p: Tensor, grad: Tensor, row: AdamRow) -> Tensor:
    return grad + mul(p, row.decay) if row.decay else grad


def _as_adamw(row: AdamRow) -> AdamWRow:
    """The row whose rule is the rest of Adam's: a product by 1 changes no bit."""
    return AdamWRow(
        1.0,
        *(row.beta1, row.beta1_complement, row.beta2, row.beta2_complement),
        *(row.step_size, row.unbias, row.eps),
    )


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
    gemm = partial(contraction.gemm, choose_route(None, resolved, x.device), profile=resolved)
    tall = x.shape[0] > x.shape[1]
    x = x.t() if tall else x
    x = x / (norm2(x) + binary32(row.eps, x))
    for _ in range(row.iterations):
        s = gemm(x, x.t())
        polynomial = mul(s, row.b) + mul(gemm(s, s), row.c)
        x = mul(x, row.a) + gemm(polynomial, x)
    return x.t() if tall else x


_RULES: Final[dict[type, tuple[Sequence[str], Callable[..., tuple[Tensor, ...]]]]] = {
    SGDRow: (("momentum",), sgd),
    AdamRow: (("m", "v"), adam),
    AdamWRow: (("m", "v"), adamw),
    LionRow: (("m",), lion),
    MuonRow: (("momentum",), muon),
}


def optimise_one(
    parameter: Tensor, gradient: Tensor, state: Named, row: Row, profile: Profile | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """(new parameter, new state): one step of the row's rule for one parameter.

    `state` maps a slot ('m', 'v' or 'momentum') to a tensor; absent ones are zeros.
    """
    slots, rule = _RULES[type(row)]
    more: tuple[Any, ...] = (row, profile) if rule is muon else (row,)
    own = [state[slot] if slot in state else torch.zeros_like(parameter) for slot in slots]
    new, *parts = rule(parameter, gradient, *own, *more)
    return new, dict(zip(slots, parts, strict=True))


def optimise_one_(
    parameter: Tensor,
    gradient: Tensor,
    state: Named,
    row: Row,
    profile: Profile | None = None,
) -> dict[str, Tensor]:
    """`optimise_one` in place: the parameter changes, and of `state` what the rule may overwrite.

    Returns the new state.
    """
    if isinstance(row, AdamRow):
        gradient, row = _with_decay(parameter, gradient, row), _as_adamw(row)
    if isinstance(row, AdamWRow):
        m, v = (state[n] if n in state else torch.zeros_like(parameter) for n in ("m", "v"))
        adamw_(parameter, gradient, m, v, row)
        return {"m": m, "v": v}
    new, slots = optimise_one(parameter, gradient, state, row, profile)
    parameter.copy_(new)
    return slots


def optimise(
    parameters: Named, gradients: Named, state: Named, row: Row, profile: Profile | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(new parameters, new state): one step of the row's rule for every name with a gradient.

    `state` maps '<slot>.<name>' to a tensor; absent ones are zeros, so {} begins. `profile`
    matters to Muon only. Raises InvalidUpdate where names or shapes do not match.
    """
    slots = _RULES[type(row)][0]
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
        own = {slot: state[f"{slot}.{name}"] for slot in slots if f"{slot}.{name}" in state}
        new[name], parts = optimise_one(parameter, gradient, own, row, profile)
        new_state |= {f"{slot}.{name}": part for slot, part in parts.items()}
    return new, new_state
