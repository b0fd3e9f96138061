// GEMM on int16 operands with AVX512-VNNI; the arithmetic is that of gemm_int16.cpp.
//
// `vpdpwssd` multiplies pairs and adds them in one operation. One product of q by q, with a split
// of the sums every 15 pairs, needs fewer operations than three products of int8 digits.

#include "gemm_int16.hpp"
#include "pack_avx512.hpp"

#if defined(__x86_64__)

namespace gradproof {
namespace {

constexpr int kRows = 8;  // rows by 32 columns: 16 accumulators

GP_512_INLINE void store_digits(__m512i q, uint8_t* row) {
  // (q + 128) >> 8 without overflow: the bit below the digit is the carry.
  const __m512i carry = _mm512_and_si512(_mm512_srli_epi16(q, 7), _mm512_set1_epi16(1));
  const __m512i high = _mm512_add_epi16(_mm512_srai_epi16(q, 8), carry);
  _mm512_store_si512(row, high);
  _mm512_store_si512(row + kPlane, _mm512_sub_epi16(q, _mm512_slli_epi16(high, 8)));
}

// One plane of q, or its two digits.
template <int planes_>
struct Rows {
  static constexpr int planes = planes_;
  static constexpr int64_t step = kInt16Step;

  GP_512_INLINE void store(__m512i q, uint8_t* row) {
    if (planes == 2)
      store_digits(q, row);
    else
      _mm512_store_si512(row, q);
  }

  GP_512_INLINE void along(const float* x, int64_t count, __m512 shift, uint8_t* row) {
    const __m512i a = rounded(load(x, count), shift), b = rounded(load(x + 16, count - 16), shift);
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    store(_mm512_permutexvar_epi64(order, _mm512_packs_epi32(a, b)), row);
  }

  GP_512_INLINE void across(const Panel& p, int64_t k, __m512 shifts, uint8_t* row) {
    const float* x = p.data + k * p.k_stride;
    const __m512i a = rounded(load(x, p.lanes), shifts);
    const __m512i b = rounded(load(x + p.k_stride, k + 1 < p.length ? p.lanes : 0), shifts);
    store(_mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16)), row);
  }
};

GP_512 bool pack_left(const Panel& p, const Rounding& r, uint8_t* out, double* scale) {
  return r.bits == 16 ? pack_panel<Rows<2>, false>(p, r, out, scale)
                      : pack_panel<Rows<1>, false>(p, r, out, scale);
}

GP_512 bool pack_right(const Panel& p, const Rounding& r, uint8_t* out, double* scale) {
  return pack_panel<Rows<1>, true>(p, r, out, scale);
}

// sum += pairs of a times pairs of b. The intrinsic makes GCC copy accumulators around each use.
GP_512_INLINE void add_products(__m512i& sum, __m512i a, __m512i b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

GP_512 uint32_t find_calm(const uint8_t* right, int64_t length, int bits) {
  const int64_t steps = steps_of(length, kInt16Step);
  const __m512i limit = _mm512_set1_epi32(calm_limit(bits)), one = _mm512_set1_epi16(1);
  uint32_t calm = 0;
  for (int64_t step = 0; step < steps; step += kChunk) {
    __m512i sum = _mm512_setzero_si512();
    const int64_t rows = std::min<int64_t>(kChunk, steps - step) * kGroups;
    for (int64_t i = 0; i < rows; ++i)
      sum = _mm512_dpwssd_epi32(
          sum, _mm512_abs_epi16(_mm512_load_si512(right + step * kPlane + 64 * i)), one);
    if (!_mm512_cmpgt_epi32_mask(sum, limit)) calm |= 1u << (step / kChunk);
  }
  return calm;
}

// Eight rows by 16 * panels columns, over `steps` steps from `step` on. Fetches what comes next
// meanwhile.
template <int panels>
GP_512_INLINE void eight_rows(const Tile& t, const uint8_t* left, int64_t left_step, int64_t step,
                              int64_t steps, int32_t (*high)[kTileColumns],
                              uint32_t (*wrapped)[kTileColumns]) {
  __m512i s[kRows][panels];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) s[r][p] = _mm512_setzero_si512();
  for (int64_t i = step; i < step + steps; ++i, left += left_step) {
    const uint8_t* right[2] = {t.right[0] + i * kPlane, t.right[panels - 1] + i * kPlane};
    const int pairs = pairs_of(t.length, i);
    for (int g = 0; g < pairs; ++g) {
      __m512i b[panels];
#pragma GCC unroll 2
      for (int p = 0; p < panels; ++p) {
        b[p] = _mm512_load_si512(right[p] + 64 * g);
        _mm_prefetch(reinterpret_cast<const char*>(right[p] + kChunk * kPlane + 64 * g),
                     _MM_HINT_T0);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32_t pair;
        std::memcpy(&pair, left + 64 * r + 4 * g, 4);
        const __m512i a = _mm512_set1_epi32(pair);
#pragma GCC unroll 2
        for (int p = 0; p < panels; ++p) add_products(s[r][p], a, b[p]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) {
      int32_t* h = high[r] + 16 * p;
      uint32_t* w = wrapped[r] + 16 * p;
      const __m512i top = _mm512_srai_epi32(s[r][p], 16);
      _mm512_store_si512(h, step ? _mm512_add_epi32(_mm512_load_si512(h), top) : top);
      _mm512_store_si512(w, step ? _mm512_add_epi32(_mm512_load_si512(w), s[r][p]) : s[r][p]);
    }
  }
}

template <int panels>
GP_512_INLINE void all_steps(const Tile& t, int planes, Sums* sums) {
  const int64_t all = steps_of(t.length, kInt16Step);
  for (int64_t step = 0, steps; step < all; step += steps) {
    steps = steps_together(t, step, all);
    for (int plane = 0; plane < planes; ++plane)
      for (int r = 0; r < t.rows; r += kRows)
        eight_rows<panels>(t, t.left + (step * planes + plane) * kPlane + r * 64, planes * kPlane,
                           step, steps, sums[plane].high + r, sums[plane].wrapped + r);
  }
}

GP_512 void multiply(const Tile& t) {
  Sums sums[2];
  const int planes = t.bits == 16 ? 2 : 1;
  if (t.right[1])
    all_steps<2>(t, planes, sums);
  else
    all_steps<1>(t, planes, sums);
  finish(t, sums);
}

}  // namespace

const Variant kVnni = {kInt16Step, {1, 2},   {1, 1},  pack_left, pack_right,
                       find_calm,  multiply, nullptr, nullptr};

}  // namespace gradproof

#endif
