// GEMM tiles on int8 digits with AVX512-VNNI: three products h.h, l.l and (h+l).(h+l) per term.
//
// The digits of b = 14 lie in [-64, 64] and their sum in [-127, 126], so all three fit int8. VNNI
// multiplies unsigned by signed bytes: the right operand is offset by 128, and the accumulators
// start at -128 times the left row's digit sum, which cancels the offset exactly.

#include "gemm.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#define GP_VNNI \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")))

namespace gradproof {
namespace {

constexpr int64_t kGroup = 4;
constexpr int64_t kBytes = 192;  // [digit: h, l, h+l][16 lanes][4 k] int8; left: two 8-row halves

GP_INLINE int32_t four_bytes(int32_t a, int32_t b, int32_t c, int32_t d) {
  return (a & 255) | (b & 255) << 8 | (c & 255) << 16 |
         static_cast<int32_t>(static_cast<uint32_t>(d) << 24);
}

struct Group {
  int32_t word[3][kLanes];
};

GP_INLINE void digits(const int32_t (&q)[kGroup][kLanes], Group& out, int32_t* sums) {
  for (int i = 0; i < kLanes; ++i) {
    int32_t h[kGroup], l[kGroup];
    for (int j = 0; j < kGroup; ++j) {
      h[j] = high_digit(q[j][i]);
      l[j] = low_digit(q[j][i]);
    }
    out.word[0][i] = four_bytes(h[0], h[1], h[2], h[3]);
    out.word[1][i] = four_bytes(l[0], l[1], l[2], l[3]);
    out.word[2][i] = four_bytes(h[0] + l[0], h[1] + l[1], h[2] + l[2], h[3] + l[3]);
    const int32_t high = h[0] + h[1] + h[2] + h[3], low = l[0] + l[1] + l[2] + l[3];
    sums[i] += high;
    sums[kLanes + i] += low;
    sums[2 * kLanes + i] += high + low;
  }
}

GP_VNNI bool pack_left(const Panel& panel, const Packed& out) {
  LaneScale s;
  const bool finite = scale_lanes(panel, s, out.scale);
  const int64_t groups = (panel.length + kGroup - 1) / kGroup;
  uint8_t* halves[2] = {out.bytes, out.bytes + groups * kBytes / 2};
  int32_t sums[3 * kLanes] = {};
  for (int64_t g = 0; g < groups; ++g) {
    int32_t q[kGroup][kLanes];
    Group group;
    quantise<kGroup>(panel, g * kGroup, s, q);
    digits(q, group, sums);
    for (int d = 0; d < 3; ++d)
      for (int half = 0; half < 2; ++half)
        std::memcpy(halves[half] + g * 96 + d * 32, group.word[d] + half * kRows, 32);
  }
  std::memcpy(out.sums, sums, sizeof sums);
  return finite;
}

GP_VNNI bool pack_right(const Panel& panel, const Packed& out) {
  LaneScale s;
  const bool finite = scale_lanes(panel, s, out.scale);
  int32_t sums[3 * kLanes] = {};
  uint8_t* to = out.bytes;
  for (int64_t k = 0; k < panel.length; k += kGroup, to += kBytes) {
    int32_t q[kGroup][kLanes];
    Group group;
    quantise<kGroup>(panel, k, s, q);
    digits(q, group, sums);
    for (int d = 0; d < 3; ++d)
      for (int i = 0; i < kLanes; ++i) group.word[d][i] ^= static_cast<int32_t>(0x80808080u);
    std::memcpy(to, group.word, kBytes);
  }
  return finite;
}

// S = hh * 2^14 + (mid - hh - ll) * 2^7 + ll; everything but the last sum fits int32.
GP_VNNI inline __m512d scaled_half(__m256i hh, __m256i low, double row, __m512d column) {
  const __m512d s = _mm512_fmadd_pd(_mm512_cvtepi32_pd(hh), _mm512_set1_pd(16384.0),
                                    _mm512_cvtepi32_pd(low));
  return _mm512_mul_pd(_mm512_mul_pd(s, _mm512_set1_pd(row)), column);
}

GP_VNNI inline __m512 finish(__m512i hh, __m512i ll, __m512i mid, double row,
                             const double* column) {
  const __m512i cross = _mm512_sub_epi32(_mm512_sub_epi32(mid, hh), ll);
  const __m512i low = _mm512_add_epi32(_mm512_slli_epi32(cross, 7), ll);
  const __m512d first = scaled_half(_mm512_castsi512_si256(hh), _mm512_castsi512_si256(low), row,
                                    _mm512_loadu_pd(column));
  const __m512d second = scaled_half(_mm512_extracti64x4_epi64(hh, 1),
                                     _mm512_extracti64x4_epi64(low, 1), row,
                                     _mm512_loadu_pd(column + 8));
  const __m512 joined = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(first)),
                                           _mm512_cvtpd_ps(second), 1);
  // Adding +0 turns the -0 of a tiny negative result into the profile's +0.
  return _mm512_add_ps(joined, _mm512_setzero_ps());
}

GP_VNNI void tile(const Tile& t) {
  __m512i acc[3][kRows];
#pragma GCC unroll 3
  for (int d = 0; d < 3; ++d)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[d][r] = _mm512_set1_epi32(-128 * t.sums[d * kLanes + r]);
  const uint8_t *a = t.left, *b = t.right;
  for (int64_t g = 0; g < t.groups; ++g, a += kBytes / 2, b += kBytes) {
#pragma GCC unroll 3
    for (int d = 0; d < 3; ++d) {
      const __m512i columns = _mm512_load_si512(b + 64 * d);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        std::memcpy(&four, a + 32 * d + 4 * r, 4);
        acc[d][r] = _mm512_dpbusd_epi32(acc[d][r], columns, _mm512_set1_epi32(four));
      }
    }
  }
  const __mmask16 mask = static_cast<__mmask16>((1u << t.columns) - 1);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    if (r >= t.rows) break;
    __m512 value = finish(acc[0][r], acc[1][r], acc[2][r], t.row_scale[r], t.column_scale);
    float* c = t.c + r * t.ldc;
    if (t.fold) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), value);
    _mm512_mask_storeu_ps(c, mask, value);
  }
}

}  // namespace

const Variant kVnni = {kGroup, kBytes, kBytes, pack_left, pack_right, tile, gather_avx2};

}  // namespace gradproof

#endif
