"""GEMM routes on native kernels: quantise, pack, multiply and round in one call.

Each instruction level is a route of its own, so that a level which fails its known-answer test is
switched off while the next one serves.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from protocol.exact.errors import KernelsUnavailable, NonFinite
from protocol.exact.kernels.library import Level, Status, best_level, library
from protocol.exact.profile import Profile


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """GEMM by the kernels of one instruction level; see `contraction.Route`."""

    level: Level

    @property
    def name(self) -> str:
        """`kernels-amx`, `kernels-vnni`, `kernels-avx2` or `kernels-scalar`."""
        return f"kernels-{self.level.name.lower()}"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        """See `Route.gemm`; raises KernelsUnavailable where this level cannot run."""
        if a.device.type != "cpu":
            raise KernelsUnavailable(f"{self.name} computes on processors only")
        if self.level > best_level():
            raise KernelsUnavailable(f"{self.name} is not allowed or not in this processor")
        if not (a.numel() and b.numel()):
            return a.new_zeros(*a.shape[:-1], b.shape[-1])
        batched = a.ndim == 3
        left, right = (a, b) if batched else (a.unsqueeze(0), b.unsqueeze(0))
        result, status = library().gemm(self.level, left, right, profile.b, profile.kb)
        if status is Status.NON_FINITE:
            raise NonFinite("gemm", "an operand holds a NaN or an infinity")
        if status is Status.NO_MEMORY:
            raise MemoryError("gemm: no memory for the packed operands")
        return result if batched else result.squeeze(0)
