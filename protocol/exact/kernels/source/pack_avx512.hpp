// Packing with AVX512: maxima, scaling, rounding, digits and transposition in registers.
//
// One source for int16 operands (VNNI) and int8 digits (AMX): `Rows` turns floats into rows of 64
// bytes, one row per plane, and the panel is written as it was read or transposed.

#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "gemm.hpp"

#define GP_512                                                                              \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-" \
                        "width=512")))
#define GP_512_INLINE GP_512 static inline __attribute__((always_inline))

namespace gradproof {

constexpr int64_t kAhead = 16;  // lines to fetch ahead of their use
constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

GP_512_INLINE __mmask16 first_of(int64_t count) {
  return count >= 16 ? 0xffff : static_cast<__mmask16>(count <= 0 ? 0 : (1u << count) - 1);
}

GP_512_INLINE __m512 load(const float* x, int64_t count) {
  return _mm512_maskz_loadu_ps(first_of(count), x);
}

GP_512_INLINE __m512i rounded(__m512 x, __m512 shift) {
  return _mm512_cvt_roundps_epi32(_mm512_scalef_ps(x, shift), kNearest);
}

GP_512_INLINE __m512i magnitude(__m512 x) {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

// 16 x 16 words.
GP_512_INLINE void transpose(const uint8_t* from, uint8_t* to) {
  __m512i r[16], s[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(from + 64 * i);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm512_store_si512(to + 64 * i, _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88));
    _mm512_store_si512(to + 64 * (i + 4), _mm512_shuffle_i32x4(s[i + 4], s[i + 12], 0x88));
    _mm512_store_si512(to + 64 * (i + 8), _mm512_shuffle_i32x4(s[i], s[i + 8], 0xdd));
    _mm512_store_si512(to + 64 * (i + 12), _mm512_shuffle_i32x4(s[i + 4], s[i + 12], 0xdd));
  }
}

// Largest magnitudes of a panel whose lanes lie side by side, and a dense copy of it: lines that
// are a power of two apart would push each other out of the cache before they are read again.
GP_512_INLINE __m512i largest_across(const Panel& p, float* copy) {
  const __mmask16 lanes = first_of(p.lanes);
  __m512i most = _mm512_setzero_si512();
  for (int64_t k = 0; k < p.length; ++k) {
    const float* line = p.data + k * p.k_stride;
    _mm_prefetch(reinterpret_cast<const char*>(line + kAhead * p.k_stride), _MM_HINT_T0);
    const __m512 x = _mm512_maskz_loadu_ps(lanes, line);
    most = _mm512_max_epi32(most, magnitude(x));
    _mm512_store_ps(copy + k * kLanes, x);
  }
  return most;
}

// Largest magnitudes of a panel's lanes, each of whose k lie side by side.
GP_512_INLINE __m512i largest_along(const Panel& p) {
  alignas(64) int32_t lanes[kLanes] = {};
  for (int i = 0; i < p.lanes; ++i) {
    const float* x = p.data + i * p.lane_stride;
    __m512i even = _mm512_setzero_si512(), odd = even;
    int64_t k = 0;
    for (; k + 32 <= p.length; k += 32) {
      even = _mm512_max_epi32(even, magnitude(_mm512_loadu_ps(x + k)));
      odd = _mm512_max_epi32(odd, magnitude(_mm512_loadu_ps(x + k + 16)));
    }
    for (; k < p.length; k += 16)
      even = _mm512_max_epi32(even, magnitude(load(x + k, p.length - k)));
    lanes[i] = _mm512_reduce_max_epi32(_mm512_max_epi32(even, odd));
  }
  return _mm512_load_si512(lanes);
}

// Packs a panel. `Rows` has `planes`, `step`, and
//   along(x, count, shift, row): one lane's `count` k, side by side, into row 0 of each plane;
//   across(panel, k, shifts, row): the same for the group of k at k, all lanes.
template <class Rows, bool right>
GP_512_INLINE bool pack_panel(Panel p, const Rounding& r, uint8_t* out, double* scale) {
  const bool along_k = p.k_stride == 1;
  alignas(64) float copy[kLanes * kLongestBlock];
  const __m512i largest = along_k ? largest_along(p) : largest_across(p, copy);
  if (!along_k) p.data = copy, p.k_stride = kLanes;
  const __m512i field = _mm512_max_epi32(
      _mm512_srai_epi32(_mm512_add_epi32(largest, _mm512_set1_epi32(r.carry)), 23),
      _mm512_set1_epi32(1));
  const __m512i shift = _mm512_sub_epi32(_mm512_set1_epi32(r.bias()), field);
  const __m512 shifts = _mm512_cvtepi32_ps(shift);
  alignas(64) int32_t lane_shift[kLanes];
  alignas(64) float lane_shift32[kLanes];
  _mm512_store_si512(lane_shift, shift);
  _mm512_store_ps(lane_shift32, shifts);
  for (int i = 0; i < kLanes; ++i) scale[i] = power_of_two64(-lane_shift[i]);
  if (_mm512_cmpge_epi32_mask(largest, _mm512_set1_epi32(kInfinity))) return false;

  const bool turned = along_k == right;  // rows were read in the other order than they are kept
  constexpr int group = Rows::step == kInt16Step ? 2 : 4;
  alignas(64) uint8_t buffer[Rows::planes * kPlane];
  for (int64_t k = 0; k < p.length; k += Rows::step, out += Rows::planes * kPlane) {
    uint8_t* to = turned ? buffer : out;
    const int64_t count = std::min<int64_t>(Rows::step, p.length - k);
    const int rows = along_k ? p.lanes : static_cast<int>((count + group - 1) / group);
    if (along_k)
      for (int i = 0; i < rows; ++i)
        Rows::along(p.data + i * p.lane_stride + k, count, _mm512_set1_ps(lane_shift32[i]),
                    to + i * 64);
    else
      for (int i = 0; i < rows; ++i) Rows::across(p, k + group * i, shifts, to + i * 64);
    for (int plane = 0; plane < Rows::planes; ++plane)
      for (int i = rows; i < kLanes; ++i)
        _mm512_store_si512(to + plane * kPlane + i * 64, _mm512_setzero_si512());
    if (turned)
      for (int plane = 0; plane < Rows::planes; ++plane)
        transpose(buffer + plane * kPlane, out + plane * kPlane);
  }
  return true;
}

}  // namespace gradproof

#endif
