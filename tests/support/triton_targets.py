"""Compiles the Triton kernels for named GPUs, which need not be here, and prints their PTX.

    python -m tests.support.triton_targets 80 90

prints one JSON object: "kernel, sm_80, b" -> PTX text.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from protocol.exact.cuda import triton_gemm
from protocol.exact.profile import Profile

_ARRAYS = {
    "words": "*i32",
    "exponents": "*i32",
    "largest": "*i32",
    "a_exponents": "*i32",
    "b_exponents": "*i32",
    "out": "*fp32",
    **dict.fromkeys(("high", "low", "a_high", "a_low", "b_high", "b_low"), "*i8"),
}


def ptx(kernel: Any, profile: Profile, capability: int) -> str:
    """The kernel's PTX as it is compiled at run time, where sizes are multiples of 16."""
    constants = {
        "bits": profile.b,
        "carry": profile.exponent_carry,
        "kb": profile.kb,
        "tile": triton_gemm.TILE,
        "tile_rows": triton_gemm.ROWS,
    }
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={n: "constexpr" if n in constants else _ARRAYS.get(n, "i32") for n in names},
        constexprs={n: value for n, value in constants.items() if n in names},
        attrs={(names.index(n),): [["tt.divisibility", 16]] for n in names if n not in constants},
    )
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"enable_fp_fusion": False},
    )
    return str(compiled.asm["ptx"])


def main() -> None:
    kernels = (triton_gemm.quantise, triton_gemm.multiply)
    json.dump(
        {
            f"{kernel.__name__}, sm_{capability}, b{b}": ptx(kernel, Profile(b=b), int(capability))
            for capability in sys.argv[1:]
            for b in (14, 16)
            for kernel in kernels
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
