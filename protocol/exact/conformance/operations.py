"""What each operation of the vectors is in this engine: the calls that a training step makes.

Calls of torch run inside `exact()`, so that the vectors judge the dispatcher's rules too; what has
no call in torch is the engine's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from protocol import exact
from protocol.exact.conformance.vectors import TYPES

Inputs = list[Tensor]
Attributes = Mapping[str, Any]
Operation = Callable[[Inputs, Attributes], list[Tensor]]

aten = torch.ops.aten


def number(attributes: Attributes, name: str) -> float:
    """A scalar attribute: a hexadecimal binary64."""
    return float.fromhex(attributes[name])


def _call(function: Callable[..., Any], **options: Any) -> Operation:
    """A function of the operands alone."""

    def operation(inputs: Inputs, _: Attributes) -> list[Tensor]:
        result = function(*inputs, **options)
        return [result] if isinstance(result, Tensor) else list(result)

    return operation


def _with_scalar(function: Callable[..., Tensor]) -> Operation:
    return lambda inputs, a: [function(inputs[0], number(a, "scalar"))]


def _over_axes(function: Callable[..., Tensor]) -> Operation:
    """A reduction over `axes`; without the attribute over all."""

    def operation(inputs: Inputs, a: Attributes) -> list[Tensor]:
        return [function(inputs[0], dim=a["axes"]) if "axes" in a else function(inputs[0])]

    return operation


def _index_of(function: Callable[..., Tensor]) -> Operation:
    return lambda inputs, a: [function(inputs[0], dim=a.get("axis"))]


def _sort(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return list(torch.sort(inputs[0], dim=a["axis"], descending=a["descending"]))


def _topk(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return list(torch.topk(inputs[0], a["k"], dim=a["axis"], largest=a["largest"]))


def _clamp(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return [torch.clamp(inputs[0], number(a, "low"), number(a, "high"))]


def _to_int(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return [inputs[0].to(TYPES[a["type"]])]


def _index_sum(inputs: Inputs, a: Attributes) -> list[Tensor]:
    index, source = inputs
    return [exact.index_sum(index, source, a["rows"])]


def _along_axis(function: Callable[..., Tensor]) -> Operation:
    return lambda inputs, a: [function(inputs[0], dim=a["axis"])]


def _gradient_along_axis(function: Callable[..., Tensor]) -> Operation:
    return lambda inputs, a: [function(*inputs, a["axis"], torch.float32)]


def _layer_norm(inputs: Inputs, a: Attributes) -> list[Tensor]:
    x, weight, bias = [*inputs, None, None][:3]
    assert x is not None, "the file gives x"
    return list(torch.native_layer_norm(x, [x.shape[-1]], weight, bias, number(a, "eps")))


def _layer_norm_backward(inputs: Inputs, _: Attributes) -> list[Tensor]:
    grad, x, mean, r, weight = [*inputs, None][:5]
    assert x is not None, "the file gives x"
    shape, wanted = [x.shape[-1]], [True] * 3
    return list(aten.native_layer_norm_backward(grad, x, shape, mean, r, weight, None, wanted))


def _rms_norm(inputs: Inputs, a: Attributes) -> list[Tensor]:
    x, weight = [*inputs, None][:2]
    assert x is not None, "the file gives x"
    return [exact.rms_norm(x, [x.shape[-1]], weight, number(a, "eps"))]


def _cross_entropy(inputs: Inputs, a: Attributes) -> list[Tensor]:
    """The loss, and its gradient for a gradient of 1."""
    x = inputs[0].detach().requires_grad_()
    loss = functional.cross_entropy(
        x, inputs[1], reduction=a["reduction"], ignore_index=a["ignore_index"]
    )
    loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    assert x.grad is not None, "x wants a gradient"
    return [loss.detach(), x.grad]


def _mse_loss(inputs: Inputs, a: Attributes) -> list[Tensor]:
    x, y = inputs
    return [functional.mse_loss(x, y, reduction=a["reduction"])]


def _mse_loss_backward(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return [aten.mse_loss_backward(*inputs, {"mean": 1, "sum": 2}[a["reduction"]])]


def _leaky_relu(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return [functional.leaky_relu(inputs[0], number(a, "slope"))]


def _leaky_relu_backward(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return [aten.leaky_relu_backward(*inputs, number(a, "slope"), False)]


def _activation(function: Callable[..., Tensor], *scalars: str) -> Operation:
    """Inputs g, x: the value at x, and the gradient by x for the gradient g."""

    def operation(inputs: Inputs, a: Attributes) -> list[Tensor]:
        g, x = inputs[0], inputs[1].detach().requires_grad_()
        y = function(x, *(number(a, name) for name in scalars))
        [gradient] = torch.autograd.grad(y, x, g)
        return [y.detach(), gradient]

    return operation


def _loss(function: Callable[..., Tensor], *scalars: str) -> Operation:
    """Inputs x, y: the loss, and its gradient by x for a gradient of 1."""

    def operation(inputs: Inputs, a: Attributes) -> list[Tensor]:
        x, y = inputs[0].detach().requires_grad_(), inputs[1]
        options = {name: number(a, name) for name in scalars}
        loss = function(x, y, reduction=a["reduction"], **options)
        [gradient] = torch.autograd.grad(loss, x)
        return [loss.detach(), gradient]

    return operation


def _statistic(function: Callable[..., Tensor]) -> Operation:
    return lambda inputs, a: [function(inputs[0], dim=a["axis"], correction=a["correction"])]


def _power(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return [inputs[0] ** a["exponent"]]


def _optimiser(rule: Callable[..., tuple[Tensor, ...]], row: type) -> Operation:
    """A rule of the engine with a row of scalars, all of them attributes."""

    def operation(inputs: Inputs, a: Attributes) -> list[Tensor]:
        scalars = {k: float.fromhex(v) if isinstance(v, str) else v for k, v in a.items()}
        return list(rule(*inputs, row(**scalars)))

    return operation


def _clip(inputs: Inputs, a: Attributes) -> list[Tensor]:
    scaled, norm = exact.clip_by_norm(inputs, number(a, "max_norm"))
    return [*scaled, norm]


def _draw(function: Callable[..., Tensor]) -> Operation:
    def operation(_: Inputs, a: Attributes) -> list[Tensor]:
        address = exact.Draw(int(a["seed"], 16), a["stream"], a["step"], a["operation"])
        return [function(address, a["shape"])]

    return operation


def _root(root: bytes) -> list[Tensor]:
    return [torch.tensor(list(root), dtype=torch.uint8)]


def _tensor_root(inputs: Inputs, _: Attributes) -> list[Tensor]:
    return _root(exact.tensor_root(inputs[0]))


def _result_root(inputs: Inputs, a: Attributes) -> list[Tensor]:
    return _root(exact.result_root(dict(zip(a["names"], inputs, strict=True))))


OPERATIONS: Final[dict[str, Operation]] = {
    **{name: _call(getattr(torch, name)) for name in ("add", "sub", "mul", "div")},
    **{f"{n}_scalar": _with_scalar(getattr(torch, n)) for n in ("add", "sub", "mul", "div")},
    "max2": _call(torch.maximum),
    "min2": _call(torch.minimum),
    "clamp": _clamp,
    **{
        name: _call(getattr(torch, name))
        for name in ("sqrt", "neg", "abs", "floor", "ceil", "trunc", "round", "relu")
    },
    **{
        name: _call(getattr(torch, name))
        for name in ("exp", "log", "tanh", "erf", "sin", "cos", "log1p", "expm1")
    },
    "to_int": _to_int,
    "from_int": lambda inputs, _: [inputs[0].to(torch.float32)],
    "gemm": _call(torch.matmul),
    "sum": _over_axes(torch.sum),
    "mean": _over_axes(torch.mean),
    "norm": _over_axes(torch.linalg.vector_norm),
    "amax": _over_axes(torch.amax),
    "amin": _over_axes(torch.amin),
    "argmax": _index_of(torch.argmax),
    "argmin": _index_of(torch.argmin),
    "sort": _sort,
    "topk": _topk,
    "index_sum": _index_sum,
    "sigmoid": _call(torch.sigmoid),
    "silu": _call(functional.silu),
    "gelu_tanh": _call(functional.gelu, approximate="tanh"),
    "gelu_erf": _call(functional.gelu),
    "sigmoid_backward": _call(aten.sigmoid_backward),
    "tanh_backward": _call(aten.tanh_backward),
    "silu_backward": _call(aten.silu_backward),
    "gelu_tanh_backward": _call(aten.gelu_backward, approximate="tanh"),
    "gelu_erf_backward": _call(aten.gelu_backward),
    "leaky_relu": _leaky_relu,
    "leaky_relu_backward": _leaky_relu_backward,
    "power": _power,
    "softmax": _along_axis(torch.softmax),
    "log_softmax": _along_axis(torch.log_softmax),
    "softmax_backward": _gradient_along_axis(aten._softmax_backward_data),
    "log_softmax_backward": _gradient_along_axis(aten._log_softmax_backward_data),
    "layer_norm": _layer_norm,
    "layer_norm_backward": _layer_norm_backward,
    "rms_norm": _rms_norm,
    "hardtanh": _activation(functional.hardtanh, "low", "high"),
    "hardsigmoid": _activation(functional.hardsigmoid),
    "hardswish": _activation(functional.hardswish),
    "elu": _activation(functional.elu, "alpha"),
    "softplus": _activation(functional.softplus, "beta", "threshold"),
    "logsigmoid": _activation(functional.logsigmoid),
    "mish": _activation(functional.mish),
    "huber": _loss(functional.huber_loss, "delta"),
    "smooth_l1": _loss(functional.smooth_l1_loss, "beta"),
    "binary_cross_entropy": _loss(functional.binary_cross_entropy),
    "var": _statistic(torch.var),
    "std": _statistic(torch.std),
    "logsumexp": _along_axis(torch.logsumexp),
    "cumsum": _along_axis(torch.cumsum),
    "cumprod": _along_axis(torch.cumprod),
    "prod": _along_axis(torch.prod),
    "addmm": _call(torch.addmm),
    "cross_entropy": _cross_entropy,
    "mse_loss": _mse_loss,
    "mse_loss_backward": _mse_loss_backward,
    "adamw": _optimiser(exact.adamw, exact.AdamWRow),
    "adam": _optimiser(exact.adam, exact.AdamRow),
    "sgd": _optimiser(exact.sgd, exact.SGDRow),
    "lion": _optimiser(exact.lion, exact.LionRow),
    "muon": _optimiser(exact.muon, exact.MuonRow),
    "clip": _clip,
    "aggregate": lambda inputs, _: [exact.aggregate(inputs)],
    "random_bits": _draw(exact.random_bits),
    "uniform": _draw(exact.uniform),
    "tensor_root": _tensor_root,
    "result_root": _result_root,
}
"""Operation of the vectors -> how this engine computes it."""
