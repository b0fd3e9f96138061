// GEMM on int8 digits with AMX: four products hh, hl, lh, ll of 16 x 64 by 64 x 16 tiles.
//
// q = high * 2^w + low, w = b / 2. The digits lie in [-64, 64] (b = 14) or [-128, 127] (b = 16), so
// each of the three sums hh, hl + lh and ll of a block stays below 2^26.

#include "pack_avx512.hpp"

#if defined(__x86_64__)

#define GP_AMX                                                                                 \
  __attribute__((target("amx-tile,amx-int8,avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,"       \
                        "avx512vnni,prefer-vector-width=512")))

namespace gradproof {
namespace {

template <int width>
struct Rows {
  static constexpr int planes = 2;
  static constexpr int64_t step = kInt8Step;

  // Digits of 32 + 32 int16 as bytes, high and low; within each 16 bytes: 8 of `a`, 8 of `b`.
  GP_512_INLINE void digits(__m512i a, __m512i b, __m512i& high, __m512i& low) {
    const __m512i ha = high_digit(a), hb = high_digit(b);
    high = _mm512_packs_epi16(ha, hb);
    low = _mm512_packs_epi16(_mm512_sub_epi16(a, _mm512_slli_epi16(ha, width)),
                             _mm512_sub_epi16(b, _mm512_slli_epi16(hb, width)));
  }

  GP_512_INLINE __m512i high_digit(__m512i q) {
    // (q + half) >> width without overflow: the bit below the digit is the carry.
    return _mm512_add_epi16(
        _mm512_srai_epi16(q, width),
        _mm512_and_si512(_mm512_srli_epi16(q, width - 1), _mm512_set1_epi16(1)));
  }

  GP_512_INLINE void along(const float* x, int64_t count, __m512 shift, uint8_t* row) {
    __m512i q[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) q[i] = rounded(load(x + 16 * i, count - 16 * i), shift);
    __m512i high, low;
    digits(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]), high, low);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_store_si512(row, _mm512_permutexvar_epi32(order, high));
    _mm512_store_si512(row + kPlane, _mm512_permutexvar_epi32(order, low));
  }

  GP_512_INLINE void across(const Panel& p, int64_t k, __m512 shifts, uint8_t* row) {
    __m512i q[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      q[i] = rounded(load(p.data + (k + i) * p.k_stride, k + i < p.length ? p.lanes : 0), shifts);
    __m512i high, low;
    digits(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]), high, low);
    const __m512i order = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    _mm512_store_si512(row, _mm512_shuffle_epi8(high, order));
    _mm512_store_si512(row + kPlane, _mm512_shuffle_epi8(low, order));
  }
};

template <bool right>
GP_512 bool pack(const Panel& p, const Rounding& r, uint8_t* out, double* scale) {
  return r.bits == 16 ? pack_panel<Rows<8>, right>(p, r, out, scale)
                      : pack_panel<Rows<7>, right>(p, r, out, scale);
}

struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Tile registers belong to a thread, and other libraries shape them too.
GP_AMX void enter() {
  static const TileShapes shapes;
  _tile_loadconfig(&shapes);
}

GP_AMX void leave() { _tile_release(); }

struct Sums {
  alignas(64) int32_t hh[2][kLanes][kLanes], cross[2][kLanes][kLanes], ll[2][kLanes][kLanes];
};

template <int panels>
GP_AMX inline void accumulate(const Tile& t, Sums& sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  if (panels == 2) {
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
  }
  const int64_t steps = steps_of(t.length, kInt8Step);
  const uint8_t *left = t.left, *first = t.right[0], *second = t.right[panels - 1];
  for (int64_t i = 0; i < steps; ++i) {
    _tile_loadd(6, left, 64);
    _tile_loadd(7, first, 64);
    _tile_dpbssd(0, 6, 7);
    _tile_loadd(7, first + kPlane, 64);
    _tile_dpbssd(1, 6, 7);
    if (panels == 2) {
      _tile_loadd(7, second, 64);
      _tile_dpbssd(3, 6, 7);
      _tile_loadd(7, second + kPlane, 64);
      _tile_dpbssd(4, 6, 7);
    }
    _tile_loadd(6, left + kPlane, 64);
    if (panels == 2) {
      _tile_dpbssd(5, 6, 7);
      _tile_loadd(7, second, 64);
      _tile_dpbssd(4, 6, 7);
    }
    _tile_loadd(7, first, 64);
    _tile_dpbssd(1, 6, 7);
    _tile_loadd(7, first + kPlane, 64);
    _tile_dpbssd(2, 6, 7);
    left += 2 * kPlane;
    first += 2 * kPlane;
    second += 2 * kPlane;
  }
  _tile_stored(0, sums.hh[0], 64);
  _tile_stored(1, sums.cross[0], 64);
  _tile_stored(2, sums.ll[0], 64);
  if (panels == 2) {
    _tile_stored(3, sums.hh[1], 64);
    _tile_stored(4, sums.cross[1], 64);
    _tile_stored(5, sums.ll[1], 64);
  }
}

GP_512_INLINE __m256 half(__m256i hh, __m256i cross, __m256i ll, double unit, __m512d scale) {
  const __m512d one = _mm512_set1_pd(unit);
  // Integers below 2^41: every step is exact.
  __m512d s = _mm512_fmadd_pd(_mm512_cvtepi32_pd(hh), one, _mm512_cvtepi32_pd(cross));
  s = _mm512_fmadd_pd(s, one, _mm512_cvtepi32_pd(ll));
  return _mm512_cvt_roundpd_ps(_mm512_mul_pd(s, scale), kNearest);
}

GP_512_INLINE void finish(const Tile& t, const Sums& sums) {
  const double unit = t.bits == 16 ? 256.0 : 128.0;
  for (int p = 0; p < 2 && t.right[p]; ++p) {
    const __mmask16 mask = first_of(t.columns - 16 * p);
    const __m512d low_columns = _mm512_loadu_pd(t.column_scale + 16 * p),
                  high_columns = _mm512_loadu_pd(t.column_scale + 16 * p + 8);
    for (int r = 0; r < t.rows; ++r) {
      const __m512i hh = _mm512_load_si512(sums.hh[p][r]), cross = _mm512_load_si512(sums.cross[p][r]),
                    ll = _mm512_load_si512(sums.ll[p][r]);
      const __m512d row = _mm512_set1_pd(t.row_scale[r]);
      const __m256 low =
          half(_mm512_castsi512_si256(hh), _mm512_castsi512_si256(cross),
               _mm512_castsi512_si256(ll), unit, _mm512_mul_pd(row, low_columns));
      const __m256 high =
          half(_mm512_extracti64x4_epi64(hh, 1), _mm512_extracti64x4_epi64(cross, 1),
               _mm512_extracti64x4_epi64(ll, 1), unit, _mm512_mul_pd(row, high_columns));
      // Adding +0 turns the -0 of a tiny negative result into the profile's +0.
      __m512 value = _mm512_add_ps(_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1),
                                   _mm512_setzero_ps());
      float* c = t.c + r * t.ldc + 16 * p;
      if (t.fold) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), value);
      _mm512_mask_storeu_ps(c, mask, value);
    }
  }
}

GP_512 void multiply(const Tile& t) {
  Sums sums;
  if (t.right[1])
    accumulate<2>(t, sums);
  else
    accumulate<1>(t, sums);
  finish(t, sums);
}

}  // namespace

const Variant kAmx = {kInt8Step, {2, 2}, {2, 2}, pack<false>, pack<true>,
                      nullptr,   multiply, enter, leave};

}  // namespace gradproof

#endif
