"""Attention as matmul, softmax, matmul, in place of the library's fused kernels.

Replaces `scaled_dot_product_attention` above autograd, so that devices and library versions,
which choose different kernels for it, all run one formula. The weights of a query that may look
at nothing are +0, as the library has it.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from protocol.exact.dropout import dropout
from protocol.exact.handlers import Engine, Refused


def scaled_dot_product_attention(
    engine: Engine,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """dropout(softmax((query . key^T) * scale + mask)) . value.

    `query` [..., H, L, E], `key` [..., H, S, E], `value` [..., H, S, V]; with `enable_gqa` key and
    value have a divisor of H heads. A boolean mask is True where a query may look.
    """
    if is_causal and attn_mask is not None:
        raise Refused("give either attn_mask or is_causal")
    if enable_gqa:
        key, value = _all_heads(key, query), _all_heads(value, query)
    scores = torch.matmul(query, key.transpose(-2, -1))
    scores = scores * (1.0 / sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        length, width = scores.shape[-2:]
        looks = torch.ones(length, width, dtype=torch.bool, device=scores.device).tril()
        weights = scores.masked_fill(looks.logical_not(), float("-inf")).softmax(-1)
    elif attn_mask is None:
        weights = scores.softmax(-1)
    else:
        weights = _masked_softmax(scores, attn_mask)
    return torch.matmul(dropout(engine, weights, dropout_p, True), value)


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    if mask.dtype is torch.bool:
        scores = scores.masked_fill(mask.logical_not(), float("-inf"))
    else:
        scores = scores + mask
    blind = (scores == float("-inf")).all(-1, keepdim=True)
    return scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)


def _all_heads(x: Tensor, query: Tensor) -> Tensor:
    heads, given = query.shape[-3], x.shape[-3]
    if heads % given:
        raise Refused(f"{heads} query heads are no multiple of {given} key or value heads")
    copies = x.unsqueeze(-3).expand(*x.shape[:-2], heads // given, *x.shape[-2:])
    return copies.reshape(*x.shape[:-3], heads, *x.shape[-2:])
