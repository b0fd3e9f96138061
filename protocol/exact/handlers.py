"""How each admitted ATen call is computed: one function per call, with ATen's own parameters.

`dispatch` finds the handler of a call here. A handler gets the engine first, then the call's
arguments unchanged; it runs below autograd with the engine switched off, so plain torch operations
inside it are the implementation. Arguments a profile does not define raise `Refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from protocol.exact import compositions, contraction, elementwise, reductions
from protocol.exact.draws import Draws
from protocol.exact.elementwise import Operand
from protocol.exact.profile import Profile
from protocol.exact.route_choice import choose_route

Handler = Callable[..., Any]

_LARGEST_POWER: Final = 64


class Refused(Exception):
    """The call is on the list, but not with these arguments."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What handlers depend on besides their operands: profile, wished route, random numbers."""

    profile: Profile
    route: str | None
    draws: Draws | None = None

    def gemm(self, a: Tensor, b: Tensor) -> Tensor:
        """`a . b` by the profile, through the route that serves the operands' device."""
        route = choose_route(self.route, self.profile, a.device)
        return contraction.gemm(route, a, b, self.profile)


def is_float(*operands: object) -> bool:
    """Whether binary32 arithmetic is meant: a float tensor or host float takes part."""
    for x in operands:  # a loop: this is asked at every arithmetic call
        if x.is_floating_point() if isinstance(x, Tensor) else isinstance(x, float):
            return True
    return False


# Arithmetic -------------------------------------------------------------------------------------


def add(_: Engine, x: Tensor, y: Operand, *, alpha: float = 1) -> Tensor:
    if not is_float(x, y, alpha):
        return torch.add(x, y, alpha=alpha)
    return elementwise.add(x, _scaled(y, alpha, x))


def sub(_: Engine, x: Tensor, y: Operand, *, alpha: float = 1) -> Tensor:
    if not is_float(x, y, alpha):
        return torch.sub(x, y, alpha=alpha)
    return elementwise.sub(x, _scaled(y, alpha, x))


def rsub(_: Engine, x: Tensor, y: Operand, alpha: float = 1) -> Tensor:
    if not is_float(x, y, alpha):
        return torch.rsub(x, y, alpha=alpha)
    return elementwise.sub(y, _scaled(x, alpha, x))


def _scaled(y: Operand, alpha: float, like: Tensor) -> Tensor:
    """alpha * y in a rounding of its own, where a stock kernel would fuse it into the addition."""
    y = elementwise.binary32(y, like)
    return y if alpha == 1 else elementwise.mul(y, alpha)


def mul(_: Engine, x: Operand, y: Operand) -> Tensor:
    return elementwise.mul(x, y) if is_float(x, y) else torch.mul(x, y)


def div(_: Engine, x: Operand, y: Operand) -> Tensor:
    return elementwise.div(x, y)


def div_mode(_: Engine, x: Operand, y: Operand, *, rounding_mode: str | None) -> Tensor:
    if rounding_mode is None:
        return elementwise.div(x, y)
    if is_float(x, y):
        raise Refused("a rounded division is defined for integers only")
    return torch.div(x, y, rounding_mode=rounding_mode)


def reciprocal(_: Engine, x: Tensor) -> Tensor:
    return elementwise.div(1.0, x)


def rsqrt(_: Engine, x: Tensor) -> Tensor:
    return elementwise.div(1.0, elementwise.sqrt(elementwise.binary32(x, x)))


def maximum(_: Engine, x: Tensor, y: Tensor) -> Tensor:
    return elementwise.max2(x, y) if is_float(x, y) else torch.maximum(x, y)


def minimum(_: Engine, x: Tensor, y: Tensor) -> Tensor:
    return elementwise.min2(x, y) if is_float(x, y) else torch.minimum(x, y)


def clamp(_: Engine, x: Tensor, min: Any = None, max: Any = None) -> Tensor:  # noqa: A002 - ATen
    if is_float(x, min, max):
        return elementwise.clamp(elementwise.binary32(x, x), min, max)
    return torch.clamp(x, min, max)


def clamp_min(engine: Engine, x: Tensor, min: Operand) -> Tensor:  # noqa: A002 - ATen's name
    return clamp(engine, x, min=min)


def clamp_max(engine: Engine, x: Tensor, max: Operand) -> Tensor:  # noqa: A002 - ATen's name
    return clamp(engine, x, max=max)


def relu(_: Engine, x: Tensor) -> Tensor:
    return elementwise.relu(x) if is_float(x) else torch.relu(x)


def threshold_backward(_: Engine, grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    # A selection decides no bits: the stock kernel makes it in one pass.
    result: Tensor = torch.ops.aten.threshold_backward(grad, x, threshold)
    return result


def power(_: Engine, x: Tensor, exponent: float) -> Tensor:
    """Whole powers and halves of odd numbers up to 64: x^n * sqrt(x), 1 over it below zero."""
    if not is_float(x, exponent):
        return torch.pow(x, exponent)
    x = elementwise.binary32(x, x)
    whole = int(abs(exponent))
    half = abs(exponent) - whole
    if half not in (0, 0.5) or abs(exponent) > _LARGEST_POWER:
        raise Refused(f"power {exponent}: defined are whole and half powers up to 64")
    raised = elementwise.power(x, whole) if whole else None
    if half:
        root = elementwise.sqrt(x)
        raised = root if raised is None else raised * root
    if raised is None:
        return torch.ones_like(x)
    return raised if exponent > 0 else elementwise.div(1.0, raised)


def power_by_integers(_: Engine, x: Tensor, exponents: Tensor) -> Tensor:
    """x to each exponent of an integer tensor, as `power` does it."""
    if is_float(exponents):
        raise Refused("a tensor of exponents must hold integers; use exp(y * log(x))")
    if not is_float(x):
        return torch.pow(x, exponents)
    x = elementwise.binary32(x, x)
    size = exponents.abs()
    largest = int(size.max()) if size.numel() else 0
    if largest > _LARGEST_POWER:
        raise Refused(f"power {largest}: defined are whole and half powers up to 64")
    result = torch.ones_like(x * size)
    for n in range(1, largest + 1):
        result = torch.where(size >= n, x if n == 1 else result * x, result)
    return torch.where(exponents < 0, elementwise.div(1.0, result), result)


def lerp(_: Engine, start: Tensor, end: Tensor, weight: Operand) -> Tensor:
    return start + elementwise.mul(end - start, weight)


def addcmul(_: Engine, x: Tensor, y: Tensor, z: Tensor, *, value: float = 1) -> Tensor:
    product = elementwise.mul(y, z)
    return elementwise.add(x, product if value == 1 else elementwise.mul(product, value))


def addcdiv(_: Engine, x: Tensor, y: Tensor, z: Tensor, *, value: float = 1) -> Tensor:
    quotient = elementwise.div(y, z)
    return elementwise.add(x, quotient if value == 1 else elementwise.mul(quotient, value))


def unary(function: Callable[[Tensor], Tensor]) -> Handler:
    """A handler for a function of one binary32 operand (integers are converted first)."""

    def handler(_: Engine, x: Tensor) -> Tensor:
        return function(elementwise.binary32(x, x))

    return handler


def compare(function: Callable[[Any, Any], Tensor]) -> Handler:
    """A handler for a comparison; a host scalar beside binary32 is rounded to binary32."""

    def handler(_: Engine, x: Operand, y: Operand) -> Tensor:
        if is_float(x, y):
            like = x if isinstance(x, Tensor) else y
            assert isinstance(like, Tensor), "one operand is a tensor"
            x, y = elementwise.binary32(x, like), elementwise.binary32(y, like)
        return function(x, y)

    return handler


# Contractions -----------------------------------------------------------------------------------


def mm(engine: Engine, a: Tensor, b: Tensor) -> Tensor:
    _require_float(a, b)
    return engine.gemm(a, b)


def dot(engine: Engine, a: Tensor, b: Tensor) -> Tensor:
    _require_float(a, b)
    return engine.gemm(a.unsqueeze(0), b.unsqueeze(1)).reshape(())


def mv(engine: Engine, a: Tensor, b: Tensor) -> Tensor:
    _require_float(a, b)
    return engine.gemm(a, b.unsqueeze(1)).squeeze(1)


def addmm(
    engine: Engine, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    _require_float(bias, a, b)
    product = engine.gemm(a, b)
    if alpha != 1:
        product = elementwise.mul(product, alpha)
    return elementwise.add(product, bias if beta == 1 else elementwise.mul(bias, beta))


# Reductions -------------------------------------------------------------------------------------


def sum_(
    _: Engine,
    x: Tensor,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    if (dtype or x.dtype).is_floating_point:
        return reductions.sum_(elementwise.binary32(x, x), dim, keepdim)
    if x.is_floating_point():
        raise Refused("a sum of floats has no integer result")
    return torch.sum(x, reductions.normalise_dims(dim, x.ndim), keepdim, dtype=dtype)


def mean(
    _: Engine,
    x: Tensor,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    if not (dtype or x.dtype).is_floating_point:
        raise Refused("the mean of integers is not defined")
    return reductions.mean(elementwise.binary32(x, x), dim, keepdim)


def vector_norm(
    _: Engine,
    x: Tensor,
    ord: float | None = 2,  # noqa: A002 - ATen's name
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,  # the engine admits no other float type than float32
) -> Tensor:
    if dtype not in (None, torch.float32):
        raise Refused("a norm is binary32")
    _require_float(x)
    axes = list(dim) if dim is not None else None
    if ord in (None, 2):
        return compositions.norm2(x, axes, keepdim)
    if ord == 1:
        return reductions.sum_(x.abs(), axes, keepdim)
    if ord == float("inf"):
        return reductions.amax(x.abs(), axes, keepdim)
    raise Refused(f"norm of order {ord}: defined are 1, 2 and infinity")


def extremum(name: str) -> Handler:
    """amax or amin over axes, floats by the profile's rules, integers as they are."""
    floats = {"amax": reductions.amax, "amin": reductions.amin}[name]
    integers = {"amax": torch.amax, "amin": torch.amin}[name]

    def handler(_: Engine, x: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Tensor:
        axes = reductions.normalise_dims(dim, x.ndim)
        return floats(x, axes, keepdim) if is_float(x) else integers(x, axes, keepdim)

    return handler


def extremum_with_index(name: str) -> Handler:
    """max.dim or min.dim: values and the lowest index that holds them."""
    value = extremum(name)
    position = {"amax": reductions.argmax, "amin": reductions.argmin}[name]

    def handler(
        engine: Engine, x: Tensor, dim: int, keepdim: bool = False
    ) -> tuple[Tensor, Tensor]:
        return value(engine, x, (dim,), keepdim), position(x, dim, keepdim)

    return handler


def both_extrema(
    engine: Engine, x: Tensor, *, dim: int | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    axes = () if dim is None else (dim,)
    return extremum("amin")(engine, x, axes, keepdim), extremum("amax")(engine, x, axes, keepdim)


def argmax(_: Engine, x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return reductions.argmax(x, dim, keepdim)


def argmin(_: Engine, x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return reductions.argmin(x, dim, keepdim)


def sort(_: Engine, x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    return reductions.sort(x, dim, descending)


def sort_stable(
    _: Engine, x: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    del stable  # every sort of the profile is stable
    return reductions.sort(x, dim, descending)


def topk(
    _: Engine,
    x: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    _sorted: bool = True,  # the profile's order is always sorted
) -> tuple[Tensor, Tensor]:
    return reductions.topk(x, k, dim, largest)


# Compositions -----------------------------------------------------------------------------------


def softmax(_: Engine, x: Tensor, dim: int, _half_to_float: bool) -> Tensor:
    _require_float(x)
    return compositions.softmax(x, dim)


def softmax_backward(_: Engine, grad: Tensor, y: Tensor, dim: int, _dtype: object) -> Tensor:
    return compositions.softmax_backward(grad, y, dim)


def log_softmax(_: Engine, x: Tensor, dim: int, _half_to_float: bool) -> Tensor:
    _require_float(x)
    return compositions.log_softmax(x, dim)


def log_softmax_backward(_: Engine, grad: Tensor, y: Tensor, dim: int, _dtype: object) -> Tensor:
    return compositions.log_softmax_backward(grad, y, dim)


def gelu(_: Engine, x: Tensor, *, approximate: str = "none") -> Tensor:
    return compositions.gelu(x, approximate)


def gelu_backward(_: Engine, grad: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    return compositions.gelu_backward(grad, x, approximate)


def binary_composition(function: Callable[[Tensor, Tensor], Tensor]) -> Handler:
    """A handler for a composition of a gradient and a saved tensor."""

    def handler(_: Engine, grad: Tensor, saved: Tensor) -> Tensor:
        return function(grad, saved)

    return handler


def layer_norm(
    _: Engine,
    x: Tensor,
    shape: list[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return compositions.layer_norm(x, shape, weight, bias, eps)


def layer_norm_backward(
    _: Engine,
    grad: Tensor,
    x: Tensor,
    shape: list[int],
    mu: Tensor,
    r: Tensor,
    weight: Tensor | None,
    _bias: Tensor | None,
    output_mask: list[bool],
) -> tuple[Tensor | None, ...]:
    gradients = compositions.layer_norm_backward(grad, x, shape, mu, r, weight)
    return tuple(g if wanted else None for g, wanted in zip(gradients, output_mask, strict=True))


def _require_float(*operands: Tensor) -> None:
    if not all(x.dtype is torch.float32 for x in operands):
        raise Refused("it is defined for float32 operands only")
