"""What outliers cost: errors of single products whose operands hold one very large element.

Each case is computed with b = 14 and 16, with every block length of the profile and with one scale
per whole row ("off", which the profile does not offer), and with operands rounded to bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from protocol.exact import Profile, gemm
from protocol.exact.contraction import quantise, scale_and_round
from protocol.exact.profile import BLOCK_LENGTHS, OPERAND_BITS

SIDE = 192


@dataclass(frozen=True)
class Case:
    """Operands of one product; `ordinary` are the k that hold no outlier."""

    name: str
    a: Tensor
    b: Tensor
    ordinary: Tensor


def cases() -> Iterator[Case]:
    """Rows with one element of 300 or 3000 standard deviations; weight gradients over tokens."""
    for crest in (1, 300, 3000):
        generator = torch.Generator().manual_seed(crest)
        k = 4096
        a, b = _normal(SIDE, k, generator), _normal(k, SIDE, generator)
        columns = torch.arange(SIDE) * 17 % k  # another place in each row
        a[torch.arange(SIDE), columns] *= crest
        ordinary = torch.ones(k, dtype=torch.bool)
        ordinary[columns] = False
        name = "no outlier" if crest == 1 else f"each row of A: one element x {crest}"
        yield Case(f"K = {k}, {name}", a, b, ordinary)
    for crest, gradient in ((300, 1.0), (300, 1e-3), (3000, 1e-3)):
        generator = torch.Generator().manual_seed(crest)
        tokens = 8192
        inputs, gradients = _normal(tokens, SIDE, generator), _normal(tokens, SIDE, generator)
        inputs[1000] *= crest
        gradients[1000] *= gradient
        ordinary = torch.arange(tokens) != 1000
        name = f"one token x {crest}" + ("" if gradient == 1 else f", its gradient x {gradient:g}")
        yield Case(f"dW over {tokens} tokens, {name}", gradients.t(), inputs, ordinary)


def table() -> list[list[str]]:
    """Rows of text: the case, then per method the error relative to the whole product, and to the
    part that the ordinary elements contribute."""
    rows = [["case", "relative to", *_METHODS]]
    for case in cases():
        exact_a, exact_b = case.a.double(), case.b.double()
        whole = exact_a @ exact_b
        part = exact_a[:, case.ordinary] @ exact_b[case.ordinary]
        errors = [(method(case.a, case.b).double() - whole).norm() for method in _METHODS.values()]
        for what, base in (("the product", whole), ("its ordinary part", part)):
            rows.append([case.name, what, *(f"{float(e / base.norm()):.1e}" for e in errors)])
    return rows


def one_scale(a: Tensor, b: Tensor, profile: Profile) -> Tensor:
    """The profile's GEMM with a single block, however long the contraction."""
    left, right = quantise(a, -1, profile), quantise(b, -2, profile)
    s = left.q.double() @ right.q.double()
    return scale_and_round(s, left.exponent, right.exponent, profile)


def bf16_operands(a: Tensor, b: Tensor) -> Tensor:
    """The product of operands rounded to bfloat16, itself without error."""
    return a.to(torch.bfloat16).double() @ b.to(torch.bfloat16).double()


def _methods() -> Iterator[tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    for bits in OPERAND_BITS:
        for length in BLOCK_LENGTHS:
            yield f"b={bits} kb={length}", partial(gemm, profile=Profile(b=bits, kb=length))
        yield f"b={bits} off", partial(one_scale, profile=Profile(b=bits))
    yield "bf16", bf16_operands


_METHODS = dict(_methods())


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Nearly normal numbers, the same on every machine, which `torch.randn` would not give.

    Twelve uniform ones, multiples of 2^-24, add up without an error in binary64.
    """
    total = torch.zeros(rows, columns, dtype=torch.float64)
    for _ in range(12):
        total += torch.rand(rows, columns, generator=generator)
    return (total - 6).float()
