"""Why the calls that users most often meet outside the allow-list are refused, and what to do.

A name is looked up by how it begins. Everything that is on no list is refused all the same.
"""

from __future__ import annotations

from typing import Final

_LIBRARY_ATTENTION: Final = (
    "fused attention kernels have no defined order; call it as "
    "torch.nn.functional.scaled_dot_product_attention, which exact() replaces, or load the model "
    'with attn_implementation="eager"'
)
_REPLACED: Final = (
    "this kernel has no defined order; call the function of torch or the module, which exact() "
    "replaces by its own composition"
)
_LIBRARY_RANDOM: Final = "library generators differ between devices; use protocol.exact.uniform"
STOCK_OPTIMISER: Final = (
    "this optimiser may take its scalars (powers of its betas) from the host's library; use AdamW, "
    "Adam, Lion, Muon or SGD of protocol.exact, which take torch's arguments, or torch.optim.SGD"
)
_FUNCTION: Final = (
    "no primitive defines this function; the profile's functions are exp, log, tanh, erf, sin, "
    "cos, log1p and expm1"
)
_OTHER_FUNCTIONS: Final = (
    *("exp2", "log2", "log10", "sinh", "cosh", "asin", "acos", "atan", "erfc", "erfinv"),
    *("logit", "lgamma", "digamma", "sinc", "hypot", "logaddexp"),
)
_COMPLEX: Final = "complex numbers are not part of the profile; keep real and imaginary parts apart"
_DECOMPOSITION: Final = "matrix decompositions have no defined order of operations"

REFUSED: Final[dict[str, str]] = {
    "_scaled_dot_product": _LIBRARY_ATTENTION,
    "_safe_softmax": _LIBRARY_ATTENTION,
    "native_dropout": _REPLACED,
    "native_batch_norm": _REPLACED,
    "cudnn_batch_norm": _REPLACED,
    "native_group_norm": _REPLACED,
    "mkldnn_rnn_layer": _REPLACED,
    "_cudnn_rnn": _REPLACED,
    "_thnn_fused": _REPLACED,
    "_weight_norm_interface": _REPLACED,
    "_fused_rms_norm": _REPLACED,
    "_adaptive_avg_pool": _REPLACED,
    "adaptive_max_pool": _REPLACED,
    "bernoulli": _LIBRARY_RANDOM,
    "random_": "library generators differ; take the batches out of a DataLoader before exact()",
    "rand": _LIBRARY_RANDOM,
    "normal": _LIBRARY_RANDOM,
    "uniform": _LIBRARY_RANDOM,
    "exponential": _LIBRARY_RANDOM,
    "multinomial": _LIBRARY_RANDOM,
    "_fused_adam": STOCK_OPTIMISER,
    "_fused_sgd": "a fused update has no defined roundings; pass fused=False",
    "_foreach": "this multi-tensor call is not defined; pass foreach=False",
    "_embedding_bag": "use Embedding and the sum or mean of its rows",
    "_cdist": "expand it: the square root of the sum of squared differences",
    "_fft": _COMPLEX,
    "polar": _COMPLEX,
    "view_as_complex": _COMPLEX,
    "linalg_inv": _DECOMPOSITION,
    "linalg_solve": _DECOMPOSITION,
    "linalg_qr": _DECOMPOSITION,
    "linalg_cholesky": _DECOMPOSITION,
    "_linalg_": _DECOMPOSITION,
    "linspace": "its formula is the host library's; make it before exact()",
    "logspace": "its formula is the host library's; make it before exact()",
    **dict.fromkeys(
        ("upsample_linear", "upsample_bilinear", "upsample_bicubic", "upsample_trilinear"),
        "only nearest neighbours are defined, as F.interpolate(mode='nearest')",
    ),
    "scatter_reduce": "use scatter_add; other reductions of a scatter are not defined",
}
REFUSED.update(dict.fromkeys(_OTHER_FUNCTIONS, _FUNCTION))


def refusal(name: str) -> str:
    """Why calls of this name are refused, or an empty string when there is no more to say."""
    return next((why for prefix, why in REFUSED.items() if name.startswith(prefix)), "")
