"""Optimisers that take the place of torch's: SGD, Adam, AdamW, Lion, Muon.

    optimiser = protocol.exact.AdamW(model.parameters(), lr=3e-4)

They are torch.optim.Optimizer classes with torch's arguments, so groups, schedulers, hooks and
state_dict work as usual. Each step turns its group's numbers into a row of exactly rounded scalars
and applies the profile's rule. A step gives the same bits inside `exact()` and outside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode_stack

from protocol.exact import scalars
from protocol.exact.dispatch import ExactMode
from protocol.exact.errors import InvalidUpdate
from protocol.exact.primitives import optimise_one_
from protocol.exact.profile import Profile
from protocol.exact.update_rules import Row

Parameters = Iterable[Any]
"""What torch.optim takes: tensors, (name, tensor) pairs, or dicts of a group's settings."""

Betas = tuple[float, float]

_STEP: Final = "step"


class ExactOptimiser(torch.optim.Optimizer, ABC):
    """What the optimisers share. A subclass says which row a group's step takes."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # torch announces a step under its class's name, and the engine refuses optimisers whose
        # scalars may come from the host's library: `exact.AdamW` is not torch's AdamW.
        cls.__name__ = f"exact.{cls.__name__}"

    @abstractmethod
    def row(self, group: dict[str, Any], step: int) -> Row:
        """The scalars of a group's step number `step`, counted from 1."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returned.

        Raises InvalidUpdate for settings without meaning, UnsupportedDtype for parameters that
        are not binary32.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        profile = _surrounding_profile()
        # Once for all parameters: each call of torch is asked for otherwise.
        with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._update(group, parameter, profile)
        return result

    def _update(self, group: dict[str, Any], parameter: Tensor, profile: Profile) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        count = state.get(_STEP, 0) + 1
        row = self.row(group, count)
        slots = optimise_one_(parameter, parameter.grad, state, row, profile)
        self.state[parameter] = {_STEP: count, **slots}


class SGD(ExactOptimiser):
    """torch.optim.SGD: momentum, dampening, L2 decay on the gradient, Nesterov."""

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(params, settings | {"weight_decay": weight_decay, "nesterov": nesterov})

    def row(self, group: dict[str, Any], step: int) -> Row:
        """See `ExactOptimiser.row`."""
        return scalars.sgd_row(
            lr=float(group["lr"]),
            momentum=float(group["momentum"]),
            dampening=float(group["dampening"]),
            weight_decay=float(group["weight_decay"]),
            nesterov=bool(group["nesterov"]),
            first=step == 1,
        )


class Adam(ExactOptimiser):
    """torch.optim.Adam: moments with bias corrections, L2 decay on the gradient."""

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def row(self, group: dict[str, Any], step: int) -> Row:
        """See `ExactOptimiser.row`."""
        return scalars.adam_row(*_adam_settings(group), step)


class AdamW(ExactOptimiser):
    """torch.optim.AdamW: Adam whose decay touches the parameter, not the gradient."""

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def row(self, group: dict[str, Any], step: int) -> Row:
        """See `ExactOptimiser.row`."""
        return scalars.adamw_row(*_adam_settings(group), step)


class Lion(ExactOptimiser):
    """Steps by the sign of an interpolated momentum; decay as in AdamW."""

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def row(self, group: dict[str, Any], step: int) -> Row:
        """See `ExactOptimiser.row`; every step has the same."""
        del step
        return scalars.lion_row(
            float(group["lr"]), _betas(group), weight_decay=float(group["weight_decay"])
        )


class Muon(ExactOptimiser):
    """torch.optim.Muon with its original learning-rate adjustment; for matrices only.

    Its products take the profile of the `exact()` block around the step.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
    ) -> None:
        settings = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "eps": eps}
        newton = {"nesterov": nesterov, "ns_coefficients": ns_coefficients, "ns_steps": ns_steps}
        super().__init__(params, settings | newton)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Raises InvalidUpdate for parameters that are no matrices."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                raise InvalidUpdate(
                    f"Muon steps matrices, not {list(parameter.shape)}; give embeddings, biases "
                    "and norms to an AdamW of their own"
                )

    def row(self, group: dict[str, Any], step: int) -> Row:
        """See `ExactOptimiser.row`; every step has the same."""
        del step
        a, b, c = (float(x) for x in group["ns_coefficients"])
        return scalars.muon_row(
            lr=float(group["lr"]),
            weight_decay=float(group["weight_decay"]),
            momentum=float(group["momentum"]),
            nesterov=bool(group["nesterov"]),
            coefficients=(a, b, c),
            eps=float(group["eps"]),
            iterations=int(group["ns_steps"]),
        )


def _adam_settings(group: dict[str, Any]) -> tuple[float, Betas, float, float]:
    return float(group["lr"]), _betas(group), float(group["eps"]), float(group["weight_decay"])


def _betas(group: dict[str, Any]) -> Betas:
    first, second = group["betas"]
    return float(first), float(second)


def _surrounding_profile() -> Profile:
    for mode in reversed(_get_current_dispatch_mode_stack()):
        if isinstance(mode, ExactMode):
            return mode.engine.profile
    return Profile()
