"""The scalars of one AdamW step, as a job's manifest holds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdamWRow:
    """Scalars of one optimiser step, as the manifest's table holds them.

    decay = 1 - lr * weight_decay; beta1, beta2 and their complements; step_size =
    lr / (1 - beta1^t); unbias = 1 / sqrt(1 - beta2^t); eps.
    """

    decay: float
    beta1: float
    beta1_complement: float
    beta2: float
    beta2_complement: float
    step_size: float
    unbias: float
    eps: float
