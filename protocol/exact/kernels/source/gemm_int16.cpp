// GEMM tiles on int16 pairs: the left operand's two digits times the right operand's integers.
//
// |sum of q * digit| <= 1024 * 2^13 * 2^6 = 2^29 fits int32 for every block, so that no step can
// overflow or saturate. One source serves plain C++ and AVX2.

#include "gemm.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gradproof {
namespace {

constexpr int64_t kGroup = 2;
constexpr int64_t kLeftBytes = 128;   // two panels of [digit][8 rows][2 k] int16
constexpr int64_t kRightBytes = 64;   // [16 columns][2 k] int16

GP_INLINE bool pack_left(const Panel& panel, const Packed& out) {
  LaneScale s;
  const bool finite = scale_lanes(panel, s, out.scale);
  const int64_t groups = (panel.length + kGroup - 1) / kGroup;
  int16_t* halves[2] = {reinterpret_cast<int16_t*>(out.bytes),
                        reinterpret_cast<int16_t*>(out.bytes + groups * kLeftBytes / 2)};
  for (int64_t g = 0; g < groups; ++g) {
    int32_t q[kGroup][kLanes];
    quantise<kGroup>(panel, g * kGroup, s, q);
    for (int half = 0; half < 2; ++half) {
      int16_t* to = halves[half] + g * 32;
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < kGroup; ++j) {
          to[2 * i + j] = static_cast<int16_t>(high_digit(q[j][half * kRows + i]));
          to[16 + 2 * i + j] = static_cast<int16_t>(low_digit(q[j][half * kRows + i]));
        }
      }
    }
  }
  return finite;
}

GP_INLINE bool pack_right(const Panel& panel, const Packed& out) {
  LaneScale s;
  const bool finite = scale_lanes(panel, s, out.scale);
  int16_t* to = reinterpret_cast<int16_t*>(out.bytes);
  for (int64_t k = 0; k < panel.length; k += kGroup, to += kRightBytes / 2) {
    int32_t q[kGroup][kLanes];
    quantise<kGroup>(panel, k, s, q);
    for (int i = 0; i < kLanes; ++i) {
      to[2 * i] = static_cast<int16_t>(q[0][i]);
      to[2 * i + 1] = static_cast<int16_t>(q[1][i]);
    }
  }
  return finite;
}

// S = 128 * high + low is below 2^37: binary64 holds it, and its products with powers of two.
GP_INLINE void finish(const Tile& t, const int32_t (&high)[kRows][kLanes],
                      const int32_t (&low)[kRows][kLanes]) {
  for (int r = 0; r < t.rows; ++r) {
    float value[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const double s = static_cast<double>(high[r][i]) * 128.0 + static_cast<double>(low[r][i]);
      // Adding +0 turns the -0 of a tiny negative result into the profile's +0.
      value[i] = static_cast<float>(s * t.row_scale[r] * t.column_scale[i]) + 0.0f;
    }
    float* c = t.c + r * t.ldc;
    for (int i = 0; i < t.columns; ++i) c[i] = t.fold ? c[i] + value[i] : value[i];
  }
}

bool pack_left_scalar(const Panel& p, const Packed& out) { return pack_left(p, out); }
bool pack_right_scalar(const Panel& p, const Packed& out) { return pack_right(p, out); }

void tile_scalar(const Tile& t) {
  int32_t high[kRows][kLanes] = {}, low[kRows][kLanes] = {};
  const int16_t *a = reinterpret_cast<const int16_t*>(t.left),
                *b = reinterpret_cast<const int16_t*>(t.right);
  for (int64_t g = 0; g < t.groups; ++g, a += 32, b += 32) {
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kLanes; ++i) {
        high[r][i] += a[2 * r] * b[2 * i] + a[2 * r + 1] * b[2 * i + 1];
        low[r][i] += a[16 + 2 * r] * b[2 * i] + a[17 + 2 * r] * b[2 * i + 1];
      }
    }
  }
  finish(t, high, low);
}

int64_t gather_nothing(const float*, int64_t, int64_t, float*) { return 0; }

#if defined(__x86_64__)
#define GP_AVX2 __attribute__((target("avx2")))

GP_AVX2 bool pack_left_avx2(const Panel& p, const Packed& out) { return pack_left(p, out); }
GP_AVX2 bool pack_right_avx2(const Panel& p, const Packed& out) { return pack_right(p, out); }

GP_AVX2 inline __m256i pair_of(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, 4);
  return _mm256_set1_epi32(pair);
}

GP_AVX2 void tile_avx2(const Tile& t) {
  int32_t high[kRows][kLanes], low[kRows][kLanes];
  for (int r = 0; r < kRows; r += 2) {
    __m256i h[2][2], l[2][2];
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j) h[i][j] = l[i][j] = _mm256_setzero_si256();
    const int16_t *a = reinterpret_cast<const int16_t*>(t.left) + 2 * r,
                  *b = reinterpret_cast<const int16_t*>(t.right);
    for (int64_t g = 0; g < t.groups; ++g, a += 32, b += 32) {
      const __m256i columns[2] = {
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 16))};
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const __m256i ah = pair_of(a + 2 * i), al = pair_of(a + 16 + 2 * i);
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          h[i][j] = _mm256_add_epi32(h[i][j], _mm256_madd_epi16(ah, columns[j]));
          l[i][j] = _mm256_add_epi32(l[i][j], _mm256_madd_epi16(al, columns[j]));
        }
      }
    }
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 2; ++j) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(high[r + i] + 8 * j), h[i][j]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(low[r + i] + 8 * j), l[i][j]);
      }
    }
  }
  finish(t, high, low);
}
#endif

}  // namespace

const Variant kScalar = {kGroup,           kLeftBytes,        kRightBytes,
                         pack_left_scalar, pack_right_scalar, tile_scalar, gather_nothing};
#if defined(__x86_64__)
const Variant kAvx2 = {kGroup,         kLeftBytes,      kRightBytes,
                       pack_left_avx2, pack_right_avx2, tile_avx2, gather_avx2};

GP_AVX2 int64_t gather_avx2(const float* from, int64_t lane_stride, int64_t length, float* to) {
  const int64_t whole = length / 8 * 8;
  for (int64_t k = 0; k < whole; k += 8) {
    for (int half = 0; half < 2; ++half) {
      const float* x = from + half * 8 * lane_stride + k;
      __m256 r[8], s[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(x + i * lane_stride);
#pragma GCC unroll 4
      for (int i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
      }
#pragma GCC unroll 2
      for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
      }
      float* out = to + k * kLanes + half * 8;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(out + i * kLanes, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * kLanes, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
      }
    }
  }
  return whole;
}
#endif

}  // namespace gradproof
