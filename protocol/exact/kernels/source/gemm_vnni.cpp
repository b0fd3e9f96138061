// GEMM on int16 operands with AVX512-VNNI; the arithmetic is that of gemm_int16.cpp.
//
// `vpdpwssd` multiplies pairs and adds them in one operation. One product of q by q needs fewer
// operations than three products of int8 digits.

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

// The squares of 32 integers: sums of pairs in units of 256, rounded up.
GP_512_INLINE __m512i squares(const uint8_t* q) {
  const __m512i x = _mm512_load_si512(q);
  const __m512i s = _mm512_dpwssd_epi32(_mm512_set1_epi32(255), x, x);
  return _mm512_srli_epi32(s, 8);
}

GP_512 void norms(const uint8_t* packed, int64_t length, bool right, int bits, uint32_t* out) {
  const int64_t steps = steps_of(length, kInt16Step);
  for (int64_t step = 0; step < steps; step += kChunk, packed += kChunk * kPlane) {
    const int64_t count = std::min<int64_t>(kChunk, steps - step);
    __m512i most = _mm512_setzero_si512();
    if (right) {
      for (int64_t i = 0; i < count * kGroups; ++i)
        most = _mm512_add_epi32(most, squares(packed + 64 * i));
    } else if (bits == 16) {  // two planes of digits, at most 128
      most = _mm512_set1_epi32(static_cast<int>(count * kInt16Step * (128 * 128 / 256)));
    } else {
      alignas(64) uint32_t lanes[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        __m512i sum = _mm512_setzero_si512();
        for (int64_t i = 0; i < count; ++i)
          sum = _mm512_add_epi32(sum, squares(packed + i * kPlane + lane * 64));
        lanes[lane] = static_cast<uint32_t>(_mm512_reduce_add_epi32(sum));
      }
      most = _mm512_load_si512(lanes);
    }
    out[step / kChunk] = _mm512_reduce_max_epu32(most);
  }
}

// Eight rows, from `row` on, by 16 * panels columns. Fetches what comes next meanwhile. A function of
// its own: inlined among others GCC keeps the sums in memory.
template <int panels>
GP_512 __attribute__((noinline)) void eight_rows(const Tile& t, const Part& part, int row, Sums& sums) {
  __m512i s[kRows][panels];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) s[r][p] = _mm512_setzero_si512();
  const int64_t left_step = part.planes * kPlane;
  const uint8_t* left = t.left + part.step * left_step + part.plane * kPlane + row * 64;
  for (int64_t i = part.step; i < part.step + part.steps; ++i, left += left_step) {
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
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) _mm512_store_si512(sums.part[row + r] + 16 * p, s[r][p]);
}

GP_512 void multiply(const Tile& t) {
  all_parts(t, [&](const Part& part, Sums& sums) GP_512 {
    for (int row = 0; row < t.rows; row += kRows)
      t.right[1] ? eight_rows<2>(t, part, row, sums) : eight_rows<1>(t, part, row, sums);
  });
}

}  // namespace

const Variant kVnni = {kInt16Step, {1, 2},   {1, 1},  pack_left, pack_right,
                       norms,      multiply, nullptr, nullptr};

}  // namespace gradproof

#endif
