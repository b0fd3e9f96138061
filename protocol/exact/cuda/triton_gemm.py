"""The GEMM of the profile in two Triton kernels: quantise and split, then multiply and round.

Everything but the fold of the blocks is integer arithmetic. Quantisation is a shift of the
significand, products are int8 with int32 sums, and the rounding to binary32 is an integer
conversion plus exponent bits. So neither flushed subnormals nor contracted multiplications nor slow
binary64 units can show; the fold is a plain binary32 addition.

INVARIANT: no kernel holds a multiplication of floats, so that there is nothing to fuse.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from protocol.exact.profile import Profile

TILE: Final = 64
"""Rows, columns and contraction steps of one tile; divides every block length."""

ROWS: Final = 8
"""Rows that one program quantises: a whole block of each stays in registers."""


@triton.jit
def _halved(number: tl.tensor, bits: tl.tensor) -> tl.tensor:
    """round_half_even(number / 2^bits) of non-negative integers, bits >= 1."""
    one = (number & 0) | 1  # of the number's width
    odd = (number >> bits) & 1
    return (number + ((one << (bits - 1)) - 1) + odd) >> bits


@triton.jit
def rounded(s: tl.tensor, e: tl.tensor) -> tl.tensor:
    """RNE32(s * 2^e), zero as +0: s int64 with |s| < 2^60, e int32 with |e| < 400."""
    size = tl.abs(s)
    bits = size.to(tl.float32).to(tl.int32, bitcast=True)  # one rounding, to nearest even
    field = (bits >> 23) + e
    normal = tl.where(field > 254, 0x7F800000, bits + (e << 23))
    # A field below 1 is a subnormal result: a whole number of 2^-149, rounded from the integer.
    drop = -149 - e
    fine = size << tl.minimum(tl.maximum(-drop, 0), 23).to(tl.int64)
    coarse = _halved(size, tl.minimum(tl.maximum(drop, 1), 62).to(tl.int64))
    subnormal = tl.where(drop > 0, coarse, fine).to(tl.int32)
    pattern = tl.where(field > 0, normal, subnormal)
    pattern = tl.where(size == 0, 0, pattern)
    pattern = tl.where((s < 0) & (pattern != 0), pattern | -0x80000000, pattern)
    return pattern.to(tl.float32, bitcast=True)


@triton.jit
def quantise(
    words: tl.tensor,
    high: tl.tensor,
    low: tl.tensor,
    exponents: tl.tensor,
    largest: tl.tensor,
    rows: tl.tensor,
    length: tl.tensor,
    padded: tl.tensor,
    batch_stride: tl.tensor,
    row_stride: tl.tensor,
    step: tl.tensor,
    bits: tl.constexpr,
    carry: tl.constexpr,
    kb: tl.constexpr,
    tile_rows: tl.constexpr,
) -> None:
    """Digits int8 [Z, rows, padded] and exponents int32 [Z, blocks, rows] of binary32 `words`.

    One program per `tile_rows` rows and block of `kb` words; zeros stand beyond `length`.
    `largest` collects the largest magnitude of all, by which the caller finds what is not finite.
    """
    tiles = tl.cdiv(rows, tile_rows)
    z = (tl.program_id(0) // tiles).to(tl.int64)
    row = (tl.program_id(0) % tiles).to(tl.int64) * tile_rows + tl.arange(0, tile_rows)
    block = tl.program_id(1)
    k = block.to(tl.int64) * kb + tl.arange(0, kb)
    start = words + z * batch_stride
    inside = (row < rows)[:, None] & (k < length)[None, :]
    word = tl.load(start + row[:, None] * row_stride + k[None, :] * step, mask=inside, other=0)
    magnitude = word & 0x7FFFFFFF
    top = tl.max(magnitude, axis=1)
    tl.atomic_max(largest, tl.max(top, axis=0))
    exponent = tl.maximum((top + carry) >> 23, 1)
    field = magnitude >> 23
    significand = (magnitude & 0x7FFFFF) | tl.where(field > 0, 0x800000, 0)
    # The value is significand * 2^(field - 150): its integer drops at least nine bits.
    drop = 25 - bits + exponent[:, None] - tl.maximum(field, 1)
    q = _halved(significand, tl.minimum(drop, 25))
    q = tl.where(word < 0, -q, q)
    digit: tl.constexpr = bits // 2
    h = (q + (1 << (digit - 1))) >> digit
    place = (z * rows + row)[:, None] * padded + k[None, :]
    inside = (row < rows)[:, None] & (k < padded)[None, :]
    tl.store(high + place, h.to(tl.int8), mask=inside)
    tl.store(low + place, (q - (h << digit)).to(tl.int8), mask=inside)
    places = (z * tl.num_programs(1) + block) * rows + row
    tl.store(exponents + places, exponent, mask=row < rows)


@triton.jit
def multiply(
    a_high: tl.tensor,
    a_low: tl.tensor,
    a_exponents: tl.tensor,
    b_high: tl.tensor,
    b_low: tl.tensor,
    b_exponents: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    padded: tl.tensor,
    bits: tl.constexpr,
    kb: tl.constexpr,
    tile: tl.constexpr,
) -> None:
    """C [Z, m, n] from the digits of A's rows and B's columns, one tile per program."""
    across = tl.cdiv(n, tile)
    tiles = tl.cdiv(m, tile) * across
    z = (tl.program_id(0) // tiles).to(tl.int64)
    place = tl.program_id(0) % tiles
    row = (place // across).to(tl.int64) * tile + tl.arange(0, tile)
    column = (place % across).to(tl.int64) * tile + tl.arange(0, tile)
    k = tl.arange(0, tile)
    a_place = (z * m + row)[:, None] * padded + k[None, :]
    b_place = (z * n + column)[None, :] * padded + k[:, None]
    a_inside = (row < m)[:, None]
    b_inside = (column < n)[None, :]
    blocks = tl.cdiv(padded, kb)
    digit: tl.constexpr = bits // 2
    total = tl.zeros((tile, tile), tl.float32)
    for block in range(blocks):
        high = tl.zeros((tile, tile), tl.int32)
        cross = tl.zeros((tile, tile), tl.int32)
        low = tl.zeros((tile, tile), tl.int32)
        for start in range(block * kb, tl.minimum(block * kb + kb, padded), tile):
            ah = tl.load(a_high + a_place + start, mask=a_inside, other=0)
            al = tl.load(a_low + a_place + start, mask=a_inside, other=0)
            bh = tl.load(b_high + b_place + start, mask=b_inside, other=0)
            bl = tl.load(b_low + b_place + start, mask=b_inside, other=0)
            high = tl.dot(ah, bh, high, out_dtype=tl.int32)
            cross = tl.dot(ah, bl, cross, out_dtype=tl.int32)
            cross = tl.dot(al, bh, cross, out_dtype=tl.int32)
            low = tl.dot(al, bl, low, out_dtype=tl.int32)
        s = (high.to(tl.int64) << (2 * digit)) + (cross.to(tl.int64) << digit) + low
        ea = tl.load(a_exponents + (z * blocks + block) * m + row, mask=row < m, other=1)
        eb = tl.load(b_exponents + (z * blocks + block) * n + column, mask=column < n, other=1)
        # The first addition is to +0 and changes nothing: no rounded product is -0.
        total += rounded(s, ea[:, None] + eb[None, :] - (254 + 2 * (bits - 2)))
    inside = a_inside & b_inside
    tl.store(out + (z * m + row)[:, None] * n + column[None, :], total, mask=inside)


def interpreted() -> bool:
    """Whether Triton runs kernels in its interpreter, on any device's tensors."""
    return not isinstance(multiply, triton.JITFunction)


def gemm(a: Tensor, b: Tensor, profile: Profile) -> tuple[Tensor, int]:
    """`a` [Z, M, K] by `b` [Z, K, N], binary32 of any strides, no size zero.

    Returns C and the largest magnitude of all operands as bits: from 0x7f800000 on C is undefined.
    """
    with torch.cuda.device(a.device) if a.is_cuda else nullcontext():
        z, m, k = a.shape
        n = b.shape[-1]
        padded = triton.cdiv(k, TILE) * TILE
        largest = torch.zeros(1, dtype=torch.int32, device=a.device)
        left = _quantised(a, padded, largest, profile)
        right = _quantised(b.mT, padded, largest, profile)
        out = torch.empty(z, m, n, dtype=torch.float32, device=a.device)
        grid = (z * triton.cdiv(m, TILE) * triton.cdiv(n, TILE),)
        multiply[grid](
            *left, *right, out, m, n, padded, profile.b, profile.kb, TILE, enable_fp_fusion=False
        )
    return out, int(largest)


def _quantised(
    x: Tensor, padded: int, largest: Tensor, profile: Profile
) -> tuple[Tensor, Tensor, Tensor]:
    """High digits, low digits and exponents of the last axis of `x` [Z, rows, K]."""
    z, rows, k = x.shape
    blocks = triton.cdiv(k, profile.kb)
    high = torch.empty(z, rows, padded, dtype=torch.int8, device=x.device)
    low = torch.empty_like(high)
    exponents = torch.empty(z, blocks, rows, dtype=torch.int32, device=x.device)
    words = x.view(torch.int32)
    grid = (z * triton.cdiv(rows, ROWS), blocks)
    quantise[grid](
        *(words, high, low, exponents, largest),
        *(rows, k, padded, *words.stride()),
        *(profile.b, profile.exponent_carry, profile.kb, ROWS),
        enable_fp_fusion=False,
    )
    return high, low, exponents
