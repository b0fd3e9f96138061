"""The route of Triton kernels: imported here only, and only when a GEMM asks for it."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import Final

import torch
from torch import Tensor

from protocol.exact.errors import NonFinite, RouteUnavailable
from protocol.exact.kernels.build import default_cache
from protocol.exact.profile import Profile

_INFINITY: Final = 0x7F800000
_OLDEST: Final = (8, 0)


class TritonRoute:
    """GEMM in two kernels, int8 tensor cores and integer rounding; see `contraction.Route`."""

    name = "triton"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        """See `Route.gemm`; raises RouteUnavailable without Triton or off a CUDA device."""
        kernels = _kernels()
        if not (a.is_cuda or kernels.interpreted()):
            raise RouteUnavailable(f"Triton kernels run on CUDA devices, not on {a.device}")
        if a.is_cuda and torch.cuda.get_device_capability(a.device) < _OLDEST:
            raise RouteUnavailable("Triton's int8 products want compute capability 8.0 or newer")
        if not (a.numel() and b.numel()):
            return a.new_zeros(*a.shape[:-1], b.shape[-1])
        batched = a.ndim == 3
        left, right = (a, b) if batched else (a.unsqueeze(0), b.unsqueeze(0))
        result: Tensor
        result, largest = kernels.gemm(left, right, profile)
        if largest >= _INFINITY:
            raise NonFinite("gemm", "an operand holds a NaN or an infinity")
        return result if batched else result.squeeze(0)


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    if find_spec("triton") is None:
        raise RouteUnavailable("Triton is not installed (PyTorch for CUDA brings it on Linux)")
    # Beside the compiled kernels: a role's home may be read-only elsewhere.
    os.environ.setdefault("TRITON_CACHE_DIR", str(default_cache().parent / "triton"))
    from protocol.exact.cuda import triton_gemm

    return triton_gemm
