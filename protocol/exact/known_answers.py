"""Known answers that a machine must reproduce before its results count.

Operands come from integer arithmetic alone. The answers are constants of the profile: the GEMM and
sum roots come from a big-integer reference, the functions' roots from mpmath at 400 bits (both in
the test suite, which recomputes them). The checks run through the same code as a task.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from protocol.exact import functions, reductions
from protocol.exact.contraction import Route
from protocol.exact.errors import FlushToZero, SelfTestFailed
from protocol.exact.hard_cases import hard_cases
from protocol.exact.profile import Profile
from protocol.exact.roots import tensor_root

GEMM_ANSWERS: Final[dict[tuple[int, int], str]] = {
    (14, 256): "acc00abb10f513a08b71864b48cd6b3fb5762f244896dc3a0d97e852c7aa8036",
    (14, 512): "fa7d81eaac25d06de02fd7295291f20cf18615bb0101500e8cba0ff41fc051c0",
    (14, 1024): "bb379925d8b1ace69f5d6a64b701c9d83bf9895490e39a0aac83c884769229fb",
    (16, 256): "c875fa88ae4d15ba7ca531fb73f7afc3ac538e1c1d50780941c4dae71eaede22",
    (16, 512): "3bd8e1445d16d71b6b53c5fa74c627ebb4c7150d2b12248e9dbf21e3377a8a40",
    (16, 1024): "003e93480011e77cf94b087e4c180bdb4e726c1e7b1032776ae77fb006f88e37",
}

SUM_ANSWER: Final = "dcd4ae35358d87d53b491bf375f6dd5f31264d3d60d00c9168920a3f6fc169ec"

FUNCTION_ANSWERS: Final[dict[str, str]] = {
    "exp": "a09022d020eca421ecd61cf8156fbc369aea2a01a87468f82f0e5d0429dfcbe0",
    "log": "48c2e872143ca8ac07493b45bc3eae3fc40eaa63c92d07464bc4df491970689f",
    "tanh": "be51cbc49c8b46d01b38931769577c836b27db4d87ec2e84ec7cf5962547988a",
    "erf": "44c14f00aa3281e6d0ef39b39dd4cde9c9b28c3b5fa2170c10345c9cc85d62ee",
    "log1p": "103e3bd793d98419ead5815398ae658a50a9facf8b9d13d0abb6e1a846333ba5",
    "expm1": "adcde3ed6164f9743812086175f1214268b818af18f420608784c7dfe1a1e519",
    "sin": "90a8e43e4e0a6d9fd636d44d395002d1dfc5b2bb6ded28ec9e65c17f1ce2e893",
    "cos": "28de51c3920ec008d22797cca96315a86ec455ecc964ed928ac2af9618add3ff",
}

_CPU: Final = torch.device("cpu")
_SMALLEST: Final = 2.0**-149
_LONGEST_RUN: Final = 1056


def require_subnormals(device: torch.device = _CPU) -> None:
    """Raise FlushToZero unless every computing thread of `device` keeps subnormal numbers."""
    # ATen hands out grains of 32768 elements: this many let each thread take part.
    x = torch.full(
        (torch.get_num_threads() * 65536,), _SMALLEST, dtype=torch.float32, device=device
    )
    # 3/2 of the smallest subnormal is a tie and rounds to the even 2 of them.
    if not bool((x * 1.5).view(torch.int32).eq(2).all()):
        raise FlushToZero


def check_gemm(route: Route, profile: Profile, device: torch.device = _CPU) -> None:
    """Raise SelfTestFailed unless `route` gives the profile's known answer on `device`."""
    a, b = (t.to(device) for t in gemm_operands())
    _compare(f"route {route.name}", route.gemm(a, b, profile), GEMM_ANSWERS[profile.b, profile.kb])


def check_primitives(device: torch.device = _CPU) -> None:
    """Raise SelfTestFailed unless sums and functions give their known answers on `device`."""
    require_subnormals(device)
    a = gemm_operands()[0].to(device)
    _compare("sum", reductions.sum_(a, 1), SUM_ANSWER)
    for name, answer in FUNCTION_ANSWERS.items():
        x = function_operand(name).to(device)
        _compare(name, getattr(functions, name)(x), answer)


def gemm_operands() -> tuple[Tensor, Tensor]:
    """Operands [40, 1056] and [1056, 40] whose rows and columns each try one thing.

    Digits at their extremes (where int8 kernels saturate), ties, subnormals, zeros, tiny and huge
    scales, one outlier, and random values over 16 powers of two.
    """
    return _operand(1), _operand(2).t().contiguous()


def function_operand(name: str) -> Tensor:
    """The function's hard cases, then 1024 patterns spread over all binary32."""
    hard = [argument for argument, _ in hard_cases()[name]]
    stride = [(i * 0x003FFF1B + 0x1234) & 0xFFFFFFFF for i in range(1024)]
    return _from_bits(torch.tensor(hard + stride, dtype=torch.int64))


def _operand(seed: int) -> Tensor:
    rows, k = 40, _LONGEST_RUN
    noise = _mix(torch.arange(rows * k, dtype=torch.int64) + (seed << 32)).reshape(rows, k)
    sign, fraction = (noise & 1) << 31, (noise >> 1) & 0x7FFFFF
    bits = sign | ((127 - ((noise >> 24) & 15)) << 23) | fraction
    bits[0] = 0x3FFE0000  # q = 8128: digits 64 and -64 in every place
    bits[1] = 0x3FFE0000 | sign[1]
    bits[2] = 0x3FFFFFFF | sign[2]  # rounds up to q = 8192
    bits[3] = fraction[3] | sign[3]  # subnormals
    bits[4] = sign[4]  # zeros of both signs
    bits[5] = sign[5] | (8 << 23) | fraction[5]  # a scale of two steps
    bits[6] = sign[6] | (180 << 23) | fraction[6]
    bits[7, 5] = 0x4E800000  # one outlier
    bits[8] = 0x3F800000 + (((noise[8] & 0x1FFF) * 2 + 1) << 9)  # ties of q
    return _from_bits(bits)


def _mix(state: Tensor) -> Tensor:
    """32 well-mixed bits per index; int64 products wrap alike everywhere."""
    for multiplier in (0x1E3779B97F4A7C15, 0x31B54A32D192ED03):
        state = (state ^ ((state >> 31) & 0x1FFFFFFFF)) * multiplier
    return (state >> 31) & 0xFFFFFFFF


def _from_bits(bits: Tensor) -> Tensor:
    return bits.to(torch.int32).view(torch.float32)


def _compare(what: str, got: Tensor, answer: str) -> None:
    root = tensor_root(got).hex()
    if root != answer:
        raise SelfTestFailed(f"{what}: root {root[:16]} instead of {answer[:16]}")
