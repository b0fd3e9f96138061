"""The ATen table of docs/numerics.md, written from the allow-list itself.

`python -m protocol.exact.aten_table` prints it; a test holds the document to it.
"""

from __future__ import annotations

import sys
from typing import Final

from protocol.exact.allowlist import COMPUTED, FOREACH, IN_PLACE, INTEGER, STOCK
from protocol.exact.library_calls import REPLACED
from protocol.exact.refusals import REFUSED

_MEANING: Final = {
    "bit-preserving": "moves, compares or makes values: the stock kernel is exact by nature",
    "integer": "the stock kernel, for integers and bool only",
    "primitive": "the profile's primitive; integers by the stock kernel",
    "composition": "a fixed formula over primitives",
    "multi-tensor": "the single call for each tensor of the list",
}

_COMPOSITIONS: Final = """
    rsqrt pow lerp addcmul addcdiv addmm baddbmm mean linalg_vector_norm sigmoid
    sigmoid_backward silu silu_backward tanh_backward gelu gelu_backward _softmax
    _softmax_backward_data _log_softmax _log_softmax_backward_data native_layer_norm
    native_layer_norm_backward nll_loss_forward nll_loss_backward convolution
    convolution_backward _grouped_mm histc mse_loss mse_loss_backward huber_loss
    huber_loss_backward smooth_l1_loss smooth_l1_loss_backward binary_cross_entropy
    binary_cross_entropy_backward binary_cross_entropy_with_logits nll_loss2d_forward
    nll_loss2d_backward xlogy leaky_relu leaky_relu_backward _prelu_kernel
    _prelu_kernel_backward hardsigmoid hardsigmoid_backward hardswish hardswish_backward elu
    celu elu_backward softplus softplus_backward log_sigmoid_forward log_sigmoid_backward mish
    mish_backward glu glu_backward norm var std var_mean std_mean logsumexp prod cumsum cumprod
"""
_MOVES: Final = """
    where _to_copy copy_ embedding scatter empty new_empty empty_like empty_strided
    new_empty_strided eq ne lt le gt ge arange threshold upsample_nearest1d upsample_nearest2d
    upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d
"""


def kinds() -> dict[str, str]:
    """'packet.overload' of every admitted ATen call -> its kind."""
    found = dict.fromkeys(STOCK.split(), "bit-preserving")
    found |= dict.fromkeys(INTEGER.split(), "integer")
    found |= {name: _computed(name) for name in COMPUTED}
    found |= {name.replace(".", "_.", 1): _computed(name) for name in IN_PLACE.split()}
    found |= dict.fromkeys(FOREACH, "multi-tensor")
    return found | {"pow_.Scalar": "composition"}


def _computed(name: str) -> str:
    packet = name.partition(".")[0]
    if packet in _COMPOSITIONS.split():
        return "composition"
    return "bit-preserving" if packet in _MOVES.split() else "primitive"


def markdown() -> str:
    """The whole table: every admitted overload by kind, replaced functions, named refusals."""
    own = kinds()
    lines = ["| kind | ATen overloads |", "|---|---|"]
    for kind, meaning in _MEANING.items():
        names = sorted(name for name, found in own.items() if found == kind)
        lines.append(f"| **{kind}**: {meaning} | {_listed(names)} |")
    lines.append(f"| **replaced** above autograd by a composition | {_listed(sorted(REPLACED))} |")
    lines.append(f"| **refused**, all others whose names begin so | {_listed(sorted(REFUSED))} |")
    lines.append("| **refused** | every overload that is not named above |")
    return "\n".join(lines) + "\n"


def _listed(names: list[str]) -> str:
    return " ".join(f"`{name.removesuffix('.default')}`" for name in names)


if __name__ == "__main__":
    sys.stdout.write(markdown())
