"""The exact numeric engine: what every role computes is equal bit for bit on any machine.

    with exact():                        # one block around forward, backward and the rest
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
    root = result_root({n: p.grad for n, p in model.named_parameters()})

docs/numerics.md is the normative text; the modules here follow its sections.
"""

from protocol.exact.dispatch import (
    exact,
)
from protocol.exact.errors import (
    AutocastActive,
    CompiledCode,
    ExactError,
    FlushToZero,
    GradientNotRecorded,
    InvalidProfile,
    NonFinite,
    RouteUnavailable,
    SelfTestFailed,
    UnsupportedDtype,
    UnsupportedOp,
)
from protocol.exact.optimiser import (
    AdamWRow,
)
from protocol.exact.primitives import (
    adamw,
    add,
    aggregate,
    amax,
    amin,
    argmax,
    clamp,
    clip_by_norm,
    cos,
    div,
    erf,
    exp,
    expm1,
    gelu,
    gemm,
    global_norm,
    index_sum,
    layer_norm,
    log,
    log1p,
    log_softmax,
    max2,
    mean,
    min2,
    mul,
    random_bits,
    relu,
    rms_norm,
    sigmoid,
    silu,
    sin,
    softmax,
    sort,
    sqrt,
    sub,
    sum_,
    tanh,
    topk,
    uniform,
)
from protocol.exact.profile import (
    Profile,
)
from protocol.exact.random import (
    Draw,
)
from protocol.exact.roots import (
    require_finite,
    result_leaf,
    result_root,
    tensor_root,
)
from protocol.exact.route_choice import (
    routes,
    selftest,
)

__all__ = [
    "AdamWRow",
    "AutocastActive",
    "CompiledCode",
    "Draw",
    "ExactError",
    "FlushToZero",
    "GradientNotRecorded",
    "InvalidProfile",
    "NonFinite",
    "Profile",
    "RouteUnavailable",
    "SelfTestFailed",
    "UnsupportedDtype",
    "UnsupportedOp",
    "adamw",
    "add",
    "aggregate",
    "amax",
    "amin",
    "argmax",
    "clamp",
    "clip_by_norm",
    "cos",
    "div",
    "erf",
    "exact",
    "exp",
    "expm1",
    "gelu",
    "gemm",
    "global_norm",
    "index_sum",
    "layer_norm",
    "log",
    "log1p",
    "log_softmax",
    "max2",
    "mean",
    "min2",
    "mul",
    "random_bits",
    "relu",
    "require_finite",
    "result_leaf",
    "result_root",
    "rms_norm",
    "routes",
    "selftest",
    "sigmoid",
    "silu",
    "sin",
    "softmax",
    "sort",
    "sqrt",
    "sub",
    "sum_",
    "tanh",
    "tensor_root",
    "topk",
    "uniform",
]
