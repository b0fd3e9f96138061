"""The rounding of the Triton kernels by itself, so that chosen integers can be put through it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from protocol.exact.cuda.triton_gemm import rounded


@triton.jit
def _round(s: tl.tensor, e: tl.tensor, out: tl.tensor, count: tl.tensor, width: tl.constexpr):
    i = tl.program_id(0) * width + tl.arange(0, width)
    inside = i < count
    result = rounded(tl.load(s + i, mask=inside, other=0), tl.load(e + i, mask=inside, other=0))
    tl.store(out + i, result, mask=inside)


def round_all(sums: Sequence[int], exponents: Sequence[int]) -> Tensor:
    """RNE32(s * 2^e) of each pair, on the GPU or in the interpreter; binary32 on the CPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    s = torch.tensor(sums, dtype=torch.int64, device=device)
    e = torch.tensor(exponents, dtype=torch.int32, device=device)
    out = torch.empty(len(sums), dtype=torch.float32, device=device)
    _round[(triton.cdiv(len(sums), 256),)](s, e, out, len(sums), 256, enable_fp_fusion=False)
    return out.cpu()
