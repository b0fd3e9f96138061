"""The allow-list: which ATen overloads the engine runs, and how.

Four kinds, in this order of decision: *stock* (bit-preserving calls, factories and bookkeeping: the
stock kernel is exact by nature), *integer* (the stock kernel, if no float takes part), *computed*
(a handler), and in-place variants derived from those. Everything absent is refused; `refusals` says
why where there is more to say.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch._ops import OpOverload

from protocol.exact import (
    activations,
    compositions,
    convolution,
    elementwise,
    experts,
    functions,
    indexing,
    losses,
    resampling,
    statistics,
)
from protocol.exact import handlers as h
from protocol.exact.handlers import Engine, Handler
from protocol.exact.multi_tensor import every
from protocol.exact.refusals import STOCK_OPTIMISER

STOCK: Final = """
    view.default _unsafe_view.default reshape.default _reshape_alias.default
    as_strided.default permute.default transpose.int t.default expand.default slice.Tensor
    select.int split.Tensor split_with_sizes.default unsafe_split.Tensor chunk.default unbind.int
    unsqueeze.default squeeze.default squeeze.dim squeeze.dims diagonal.default movedim.int
    flatten.using_ints unflatten.int narrow.default alias.default detach.default detach_.default
    clone.default contiguous.default lift_fresh.default lift_fresh_copy.default cat.default
    stack.default repeat.default flip.default roll.default tril.default triu.default tril_.default
    triu_.default expand_as.default view_as.default unfold.default constant_pad_nd.default
    index.Tensor gather.default index_select.default take_along_dim.default masked_select.default
    nonzero.default masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar masked_fill_.Tensor
    fill.Scalar fill.Tensor fill_.Scalar fill_.Tensor zero_.default zero.default
    slice_backward.default select_backward.default diagonal_backward.default
    select_scatter.default slice_scatter.default zeros.default zeros_like.default ones.default
    ones_like.default full.default full_like.default scalar_tensor.default new_zeros.default
    new_ones.default new_full.default isnan.default isinf.default isfinite.default
    logical_not.default logical_not_.default logical_and.default logical_and_.default
    logical_or.default logical_or_.default logical_xor.default any.default
    any.dim any.dims all.default all.dim equal.default is_nonzero.default
    _local_scalar_dense.default sym_size.int sym_stride.int sym_numel.default
    sym_storage_offset.default is_same_size.default _has_compatible_shallow_copy_type.default
    _pack_padded_sequence.default _is_any_true.default _is_all_true.default
    diag_embed.default eye.default eye.m tril_indices.default triu_indices.default
    repeat_interleave.Tensor pixel_shuffle.default pixel_unshuffle.default
    native_channel_shuffle.default channel_shuffle.default
    _unsafe_index.Tensor masked_scatter.default masked_scatter_.default
    masked_scatter_backward.default
    index_fill.int_Scalar index_fill.int_Tensor index_fill_.int_Scalar index_fill_.int_Tensor
    nan_to_num.default bucketize.Tensor searchsorted.Tensor
    reflection_pad1d.default reflection_pad2d.default reflection_pad3d.default
    replication_pad1d.default replication_pad2d.default replication_pad3d.default
"""

INTEGER: Final = """
    bitwise_and_.Tensor bitwise_or_.Tensor bitwise_xor_.Tensor bitwise_and.Tensor bitwise_and.Scalar
    bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor bitwise_xor.Scalar bitwise_not.default
    bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_right_shift.Tensor
    bitwise_right_shift.Tensor_Scalar remainder.Scalar remainder.Tensor fmod.Scalar fmod.Tensor
    floor_divide.default floor_divide.Scalar bincount.default isin.Tensor_Tensor
    isin.Tensor_Scalar isin.Scalar_Tensor __and__.Scalar __and__.Tensor __or__.Scalar __or__.Tensor
    __xor__.Scalar __xor__.Tensor __lshift__.Scalar __lshift__.Tensor __rshift__.Scalar
    __rshift__.Tensor
"""


def _resolve(name: str) -> OpOverload:
    packet, overload = name.split(".")
    found = getattr(getattr(torch.ops.aten, packet), overload)
    assert isinstance(found, OpOverload)
    return found


COMPUTED: Final[dict[str, Handler]] = {
    "add.Tensor": h.add,
    "add.Scalar": lambda e, x, y, alpha=1: h.add(e, x, y, alpha=alpha),
    "sub.Tensor": h.sub,
    "sub.Scalar": lambda e, x, y, alpha=1: h.sub(e, x, y, alpha=alpha),
    "rsub.Tensor": lambda e, x, y, *, alpha=1: h.rsub(e, x, y, alpha),
    "rsub.Scalar": h.rsub,
    "mul.Tensor": h.mul,
    "mul.Scalar": h.mul,
    "div.Tensor": h.div,
    "div.Scalar": h.div,
    "div.Tensor_mode": h.div_mode,
    "div.Scalar_mode": h.div_mode,
    "reciprocal.default": h.reciprocal,
    "rsqrt.default": h.rsqrt,
    "maximum.default": h.maximum,
    "minimum.default": h.minimum,
    "clamp.default": h.clamp,
    "clamp.Tensor": h.clamp,
    "clamp_min.default": h.clamp_min,
    "clamp_min.Tensor": h.clamp_min,
    "clamp_max.default": h.clamp_max,
    "clamp_max.Tensor": h.clamp_max,
    "relu.default": h.relu,
    "threshold.default": activations.threshold,
    "threshold_backward.default": h.threshold_backward,
    "pow.Tensor_Scalar": h.power,
    "pow.Tensor_Tensor": h.power_by_integers,
    "lerp.Scalar": h.lerp,
    "lerp.Tensor": h.lerp,
    "addcmul.default": h.addcmul,
    "addcdiv.default": h.addcdiv,
    "neg.default": lambda _, x: torch.neg(x),
    "abs.default": lambda _, x: torch.abs(x),
    "sign.default": lambda _, x: torch.sign(x),
    "sgn.default": lambda _, x: torch.sign(x),
    "floor.default": h.unary(torch.floor),
    "ceil.default": h.unary(torch.ceil),
    "trunc.default": h.unary(torch.trunc),
    "round.default": h.unary(torch.round),
    "sqrt.default": h.unary(elementwise.sqrt),
    "exp.default": h.unary(functions.exp),
    "log.default": h.unary(functions.log),
    "tanh.default": h.unary(functions.tanh),
    "erf.default": h.unary(functions.erf),
    "sin.default": h.unary(functions.sin),
    "cos.default": h.unary(functions.cos),
    "log1p.default": h.unary(functions.log1p),
    "expm1.default": h.unary(functions.expm1),
    "eq.Tensor": h.compare(torch.eq),
    "eq.Scalar": h.compare(torch.eq),
    "ne.Tensor": h.compare(torch.ne),
    "ne.Scalar": h.compare(torch.ne),
    "lt.Tensor": h.compare(torch.lt),
    "lt.Scalar": h.compare(torch.lt),
    "le.Tensor": h.compare(torch.le),
    "le.Scalar": h.compare(torch.le),
    "gt.Tensor": h.compare(torch.gt),
    "gt.Scalar": h.compare(torch.gt),
    "ge.Tensor": h.compare(torch.ge),
    "ge.Scalar": h.compare(torch.ge),
    "mm.default": h.mm,
    "bmm.default": h.mm,
    "addmm.default": h.addmm,
    "baddbmm.default": h.addmm,
    "mv.default": h.mv,
    "dot.default": h.dot,
    "sum.default": lambda e, x, *, dtype=None: h.sum_(e, x, dtype=dtype),
    "sum.dim_IntList": h.sum_,
    "mean.default": lambda e, x, *, dtype=None: h.mean(e, x, dtype=dtype),
    "mean.dim": h.mean,
    "linalg_vector_norm.default": h.vector_norm,
    "norm.ScalarOpt_dim": h.vector_norm,
    "var.correction": statistics.var,
    "std.correction": statistics.std,
    "var_mean.correction": statistics.var_mean,
    "std_mean.correction": statistics.std_mean,
    "logsumexp.default": statistics.logsumexp,
    "prod.default": statistics.prod,
    "prod.dim_int": statistics.prod_along,
    "cumsum.default": statistics.cumulative("cumsum", torch.add),
    "cumprod.default": statistics.cumulative("cumprod", torch.mul),
    "amax.default": h.extremum("amax"),
    "amin.default": h.extremum("amin"),
    "max.default": h.extremum("amax"),
    "min.default": h.extremum("amin"),
    "max.dim": h.extremum_with_index("amax"),
    "min.dim": h.extremum_with_index("amin"),
    "aminmax.default": h.both_extrema,
    "argmax.default": h.argmax,
    "argmin.default": h.argmin,
    "sort.default": h.sort,
    "sort.stable": h.sort_stable,
    "topk.default": h.topk,
    "sigmoid.default": h.unary(compositions.sigmoid),
    "sigmoid_backward.default": h.binary_composition(compositions.sigmoid_backward),
    "silu.default": h.unary(compositions.silu),
    "silu_backward.default": h.binary_composition(compositions.silu_backward),
    "tanh_backward.default": h.binary_composition(compositions.tanh_backward),
    "gelu.default": h.gelu,
    "gelu_backward.default": h.gelu_backward,
    "_softmax.default": h.softmax,
    "_softmax_backward_data.default": h.softmax_backward,
    "_log_softmax.default": h.log_softmax,
    "_log_softmax_backward_data.default": h.log_softmax_backward,
    "native_layer_norm.default": h.layer_norm,
    "native_layer_norm_backward.default": h.layer_norm_backward,
    "nll_loss_forward.default": losses.nll_loss,
    "nll_loss_backward.default": losses.nll_loss_backward,
    "nll_loss2d_forward.default": losses.nll_loss,
    "nll_loss2d_backward.default": losses.nll_loss_backward,
    "mse_loss.default": losses.mse_loss,
    "mse_loss_backward.default": losses.mse_loss_backward,
    "huber_loss.default": losses.huber_loss,
    "huber_loss_backward.default": losses.huber_loss_backward,
    "smooth_l1_loss.default": losses.smooth_l1_loss,
    "smooth_l1_loss_backward.default": losses.smooth_l1_loss_backward,
    "binary_cross_entropy.default": losses.bce,
    "binary_cross_entropy_backward.default": losses.bce_backward,
    "binary_cross_entropy_with_logits.default": losses.bce_with_logits,
    "xlogy.Tensor": losses.xlogy,
    "leaky_relu.default": activations.leaky_relu,
    "leaky_relu_backward.default": activations.leaky_relu_backward,
    "_prelu_kernel.default": activations.prelu,
    "_prelu_kernel_backward.default": activations.prelu_backward,
    "hardtanh.default": activations.hardtanh,
    "hardtanh_backward.default": activations.hardtanh_backward,
    "hardsigmoid.default": activations.hardsigmoid,
    "hardsigmoid_backward.default": activations.hardsigmoid_backward,
    "hardswish.default": activations.hardswish,
    "hardswish_backward.default": activations.hardswish_backward,
    "elu.default": activations.elu,
    "celu.default": activations.celu,
    "elu_backward.default": activations.elu_backward,
    "softplus.default": activations.softplus,
    "softplus_backward.default": activations.softplus_backward,
    "log_sigmoid_forward.default": activations.log_sigmoid,
    "log_sigmoid_backward.default": activations.log_sigmoid_backward,
    "mish.default": activations.mish,
    "mish_backward.default": activations.mish_backward,
    "glu.default": activations.glu,
    "glu_backward.default": activations.glu_backward,
    "convolution.default": convolution.convolution,
    "convolution_backward.default": convolution.convolution_backward,
    "_grouped_mm.default": experts.grouped_mm,
    "histc.default": experts.histogram,
    "where.self": indexing.where,
    "_to_copy.default": indexing.to_copy,
    "copy_.default": indexing.copy_,
    "embedding.default": indexing.embedding,
    "embedding_dense_backward.default": indexing.embedding_backward,
    "unfold_backward.default": indexing.unfold_backward,
    **{
        f"{name}_backward.default": resampling.moved_backward(_resolve(f"{name}.default"))
        for kind in ("reflection", "replication")
        for name in (f"{kind}_pad1d", f"{kind}_pad2d", f"{kind}_pad3d")
    },
    **{
        f"{name}{axes}d{part}.default": handler(centred)
        for name, centred in (("upsample_nearest", False), ("_upsample_nearest_exact", True))
        for axes in (1, 2, 3)
        for part, handler in (("", resampling.nearest), ("_backward", resampling.nearest_backward))
    },
    "arange.default": indexing.arange,
    "arange.start": indexing.arange,
    "arange.start_step": indexing.arange,
    "index_add.default": indexing.index_add,
    "index_put.default": indexing.index_put,
    "_unsafe_index_put.default": indexing.index_put,
    "scatter_add.default": indexing.scatter_add,
    "scatter.value": indexing.scatter_value,
    "scatter.src": indexing.scatter_source,
    "empty.memory_format": indexing.zeros_like_empty,
    "new_empty.default": indexing.new_empty,
    "empty_like.default": indexing.empty_like,
    "empty_strided.default": indexing.empty_strided,
    "new_empty_strided.default": indexing.new_empty_strided,
}

# In-place variants: the computed result is copied over the first operand.
IN_PLACE: Final = """
    add.Tensor add.Scalar sub.Tensor sub.Scalar mul.Tensor mul.Scalar div.Tensor div.Scalar
    lerp.Scalar lerp.Tensor addcmul.default addcdiv.default clamp.default clamp_min.default
    clamp_max.default relu.default neg.default sqrt.default exp.default tanh.default
    reciprocal.default sigmoid.default silu.default index_add.default index_put.default
    scatter_add.default scatter.value scatter.src clamp.Tensor clamp_min.Tensor clamp_max.Tensor
    abs.default ceil.default floor.default trunc.default round.default rsqrt.default log.default
    sin.default cos.default hardtanh.default hardsigmoid.default hardswish.default elu.default
    leaky_relu.default mish.default threshold.default cumsum.default cumprod.default
"""

FOREACH: Final[dict[str, Handler]] = every(COMPUTED)

_KNOWN_OPTIMISERS = ("Optimizer.step#SGD.step", "Optimizer.step#exact.")


def _stock(function: OpOverload) -> Handler:
    def handler(_: Engine, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return handler


def _integer(function: OpOverload) -> Handler:
    def handler(_: Engine, *args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if h.is_float(result, *args):
            raise h.Refused("it is defined for integers only")
        return result

    return handler


def _named_section(_: Engine, name: str, args: str | None = None) -> Any:
    """A section of the profiler: how an optimiser announces its step; see `optimisers`."""
    if name.startswith("Optimizer.step#") and not name.startswith(_KNOWN_OPTIMISERS):
        raise h.Refused(STOCK_OPTIMISER)
    return torch.ops.profiler._record_function_enter_new.default(name, args)


def _in_place(computed: Handler) -> Handler:
    def handler(engine: Engine, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = computed(engine, x, *args, **kwargs)
        if result.dtype is not x.dtype or result.shape != x.shape:
            raise h.Refused("an in-place result must have its operand's type and shape")
        return x.copy_(result)

    return handler


def _table() -> dict[OpOverload, Handler]:
    table = {_resolve(name): _stock(_resolve(name)) for name in STOCK.split()}
    table |= {_resolve(name): _integer(_resolve(name)) for name in INTEGER.split()}
    table |= {_resolve(name): handler for name, handler in COMPUTED.items()}
    for name in IN_PLACE.split():
        packet, overload = name.split(".")
        table[_resolve(f"{packet}_.{overload}")] = _in_place(COMPUTED[name])
    table[_resolve("pow_.Scalar")] = _in_place(h.power)
    table |= {_resolve(name): handler for name, handler in FOREACH.items()}
    table[torch.ops.profiler._record_function_enter_new.default] = _named_section
    table[torch.ops.profiler._record_function_exit._RecordFunction] = _stock(
        torch.ops.profiler._record_function_exit._RecordFunction
    )
    return table


TABLE: Final[dict[OpOverload, Handler]] = _table()

_VIEWS: Final = """
    view.default _unsafe_view.default permute.default transpose.int t.default expand.default
    slice.Tensor select.int unsqueeze.default squeeze.dim split.Tensor unbind.int
    as_strided.default alias.default detach.default
"""

VIEWS: Final = frozenset(map(_resolve, _VIEWS.split()))
"""Half of a step's calls: they make no number, so they are handed on unseen."""
