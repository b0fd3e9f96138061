// GEMM on int16 operands in plain C++ and AVX2: q times q, summed pair by pair in int32.
//
// b = 14: |q| <= 2^13, so a pair of products is at most 2^27 and 15 pairs stay below 2^31: a step
// of 30 k cannot overflow. Its sums are then added to totals in binary64. Most operands are far from
// this bound: where their sums of squares say so, several steps make one part. b = 16: |q| <= 32639
// takes the left operand's two digits, in [-128, 127], as planes of their own.

#include "gemm_int16.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gradproof {
namespace {

// Packs with plain loops; `right` interleaves lanes.
template <bool right>
bool pack_scalar(const Panel& p, const Rounding& r, uint8_t* out, double* scale) {
  const int planes = !right && r.bits == 16 ? 2 : 1;
  std::memset(out, 0, static_cast<size_t>(steps_of(p.length, kInt16Step) * planes * kPlane));
  for (int i = 0; i < kLanes; ++i) scale[i] = 0.0;
  for (int i = 0; i < p.lanes; ++i) {
    const float* x = p.data + i * p.lane_stride;
    int32_t largest = 0;
    for (int64_t k = 0; k < p.length; ++k) {
      int32_t bits;
      std::memcpy(&bits, x + k * p.k_stride, 4);
      largest = std::max(largest, bits & 0x7fffffff);
    }
    if (largest >= kInfinity) return false;
    const int32_t exponent = scale_exponent(largest, r), shift = r.bias() - exponent;
    scale[i] = power_of_two64(-shift);
    for (int64_t k = 0; k < p.length; ++k) {
      const double scaled = static_cast<double>(x[k * p.k_stride]) * power_of_two64(shift);
      const int32_t q = static_cast<int32_t>(std::nearbyint(scaled));
      const int64_t step = k / kInt16Step, within = k % kInt16Step;
      int16_t* to = reinterpret_cast<int16_t*>(out + step * planes * kPlane) +
                    (right ? within / 2 * 32 + i * 2 + within % 2 : i * 32 + within);
      if (planes == 2) {
        const int32_t high = (q + 128) >> 8;
        to[0] = static_cast<int16_t>(high);
        to[kPlane / 2] = static_cast<int16_t>(q - high * 256);
      } else {
        to[0] = static_cast<int16_t>(q);
      }
    }
  }
  return true;
}

void multiply_scalar(const Tile& t) {
  all_parts(t, [&](const Part& part, Sums& sums) {
    std::memset(sums.part, 0, sizeof(sums.part));
    for (int64_t step = part.step; step < part.step + part.steps; ++step) {
      const int pairs = pairs_of(t.length, step);
      const int16_t* a = reinterpret_cast<const int16_t*>(
          t.left + (step * part.planes + part.plane) * kPlane);
      for (int p = 0; p < 2 && t.right[p]; ++p) {
        const int16_t* b = reinterpret_cast<const int16_t*>(t.right[p] + step * kPlane);
        for (int r = 0; r < t.rows; ++r)
          for (int g = 0; g < pairs; ++g)
            for (int i = 0; i < kLanes; ++i)
              sums.part[r][p * kLanes + i] += a[r * 32 + 2 * g] * b[g * 32 + 2 * i] +
                                              a[r * 32 + 2 * g + 1] * b[g * 32 + 2 * i + 1];
      }
    }
  });
}

#if defined(__x86_64__)
#define GP_AVX2 __attribute__((target("avx2")))

// Rows of 64 bytes, two registers each.
GP_AVX2 inline void transpose(const uint8_t* from, uint8_t* to) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      __m256 r[8], s[8];
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k)
        r[k] = _mm256_load_ps(reinterpret_cast<const float*>(from + (i * 8 + k) * 64 + j * 32));
#pragma GCC unroll 4
      for (int k = 0; k < 8; k += 2) {
        s[k] = _mm256_unpacklo_ps(r[k], r[k + 1]);
        s[k + 1] = _mm256_unpackhi_ps(r[k], r[k + 1]);
      }
#pragma GCC unroll 2
      for (int k = 0; k < 8; k += 4) {
        r[k] = _mm256_shuffle_ps(s[k], s[k + 2], 0x44);
        r[k + 1] = _mm256_shuffle_ps(s[k], s[k + 2], 0xee);
        r[k + 2] = _mm256_shuffle_ps(s[k + 1], s[k + 3], 0x44);
        r[k + 3] = _mm256_shuffle_ps(s[k + 1], s[k + 3], 0xee);
      }
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        float* out = reinterpret_cast<float*>(to + (j * 8 + k) * 64 + i * 32);
        _mm256_store_ps(out, _mm256_permute2f128_ps(r[k], r[k + 4], 0x20));
        _mm256_store_ps(out + 4 * 16, _mm256_permute2f128_ps(r[k], r[k + 4], 0x31));
      }
    }
  }
}

struct LaneScale {
  float first, second;  // their product is the scale: 2^139 alone is beyond binary32
};

GP_AVX2 inline bool lane_scale(int32_t largest, const Rounding& r, LaneScale& lane, double& scale) {
  const int32_t shift = r.bias() - scale_exponent(largest, r);
  const int32_t first = shift < 127 ? shift : 127;
  lane = {power_of_two32(first), power_of_two32(shift - first)};
  scale = power_of_two64(-shift);
  return largest < kInfinity;
}

GP_AVX2 inline __m256i magnitude(__m256 x) {
  return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

GP_AVX2 inline __m256i first_lanes(int64_t count) {  // 8 lanes, the first `count` of them set
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count > 8 ? 8 : static_cast<int>(count)), index);
}

GP_AVX2 inline __m256 load(const float* x, int64_t count) {
  if (count >= 8) return _mm256_loadu_ps(x);
  if (count <= 0) return _mm256_setzero_ps();
  return _mm256_maskload_ps(x, first_lanes(count));
}

GP_AVX2 inline __m256i rounded(__m256 x, __m256 first, __m256 second) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_mul_ps(x, first), second));
}

// One step's 16 rows of 64 bytes, in the order of reading: lanes where k lies side by side, else
// pairs of k.
GP_AVX2 inline void quantise_lane(const float* x, int64_t count, LaneScale s, uint8_t* row) {
  const __m256 first = _mm256_set1_ps(s.first), second = _mm256_set1_ps(s.second);
  for (int half = 0; half < 2; ++half) {
    const __m256i a = rounded(load(x + 16 * half, count - 16 * half), first, second);
    const __m256i b = rounded(load(x + 16 * half + 8, count - 16 * half - 8), first, second);
    const __m256i q = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    _mm256_store_si256(reinterpret_cast<__m256i*>(row) + half, q);
  }
}

struct Scales16 {
  __m256 first[2], second[2];
};

GP_AVX2 inline void quantise_pair(const Panel& p, int64_t k, const Scales16& s, uint8_t* row) {
  for (int half = 0; half < 2; ++half) {
    const float* x = p.data + k * p.k_stride + 8 * half;
    const int64_t lanes = p.lanes - 8 * half;
    const __m256i a = rounded(load(x, lanes), s.first[half], s.second[half]);
    const int64_t more = k + 1 < p.length ? lanes : 0;
    const __m256i b = rounded(load(x + p.k_stride, more), s.first[half], s.second[half]);
    const __m256i q = _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
    _mm256_store_si256(reinterpret_cast<__m256i*>(row) + half, q);
  }
}

// The high digit of each int16 into one plane, the low one into the next.
GP_AVX2 inline void split(uint8_t* plane) {
  for (int i = 0; i < kPlane / 32; ++i) {
    __m256i* at = reinterpret_cast<__m256i*>(plane) + i;
    const __m256i q = _mm256_load_si256(at);
    // (q + 128) >> 8 without overflow: the bit below the digit is the carry.
    const __m256i high = _mm256_add_epi16(
        _mm256_srai_epi16(q, 8), _mm256_and_si256(_mm256_srli_epi16(q, 7), _mm256_set1_epi16(1)));
    _mm256_store_si256(at, high);
    _mm256_store_si256(at + kPlane / 32, _mm256_sub_epi16(q, _mm256_slli_epi16(high, 8)));
  }
}

GP_AVX2 inline int32_t largest_of(const float* x, int64_t length) {
  __m256i most = _mm256_setzero_si256();
  for (int64_t k = 0; k < length; k += 8)
    most = _mm256_max_epi32(most, magnitude(load(x + k, length - k)));
  int32_t lanes[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), most);
  return *std::max_element(lanes, lanes + 8);
}

template <bool right>
GP_AVX2 bool pack_avx2(const Panel& p, const Rounding& r, uint8_t* out, double* scale) {
  const int planes = !right && r.bits == 16 ? 2 : 1;
  const bool along_k = p.k_stride == 1;
  alignas(64) int32_t largest[kLanes] = {};
  if (along_k) {
    for (int i = 0; i < p.lanes; ++i) largest[i] = largest_of(p.data + i * p.lane_stride, p.length);
  } else {
    __m256i most[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t k = 0; k < p.length; ++k)
      for (int half = 0; half < 2; ++half)
        most[half] = _mm256_max_epi32(
            most[half], magnitude(load(p.data + k * p.k_stride + 8 * half, p.lanes - 8 * half)));
    for (int half = 0; half < 2; ++half)
      _mm256_store_si256(reinterpret_cast<__m256i*>(largest) + half, most[half]);
  }
  LaneScale lane[kLanes];
  bool finite = true;
  for (int i = 0; i < kLanes; ++i) finite &= lane_scale(largest[i], r, lane[i], scale[i]);
  if (!finite) return false;
  Scales16 s;
  alignas(32) float first[kLanes], second[kLanes];
  for (int i = 0; i < kLanes; ++i) first[i] = lane[i].first, second[i] = lane[i].second;
  for (int half = 0; half < 2; ++half) {
    s.first[half] = _mm256_load_ps(first + 8 * half);
    s.second[half] = _mm256_load_ps(second + 8 * half);
  }
  const bool turned = along_k == right;  // rows were read in the other order than they are kept
  alignas(64) uint8_t buffer[kPlane];
  for (int64_t k = 0; k < p.length; k += kInt16Step, out += planes * kPlane) {
    uint8_t* to = turned ? buffer : out;
    const int64_t count = std::min<int64_t>(kInt16Step, p.length - k);
    for (int i = 0; i < kLanes; ++i) {
      if (along_k ? i < p.lanes : 2 * i < count) {
        if (along_k)
          quantise_lane(p.data + i * p.lane_stride + k, count, lane[i], to + i * 64);
        else
          quantise_pair(p, k + 2 * i, s, to + i * 64);
      } else {
        std::memset(to + i * 64, 0, 64);
      }
    }
    if (turned) transpose(buffer, out);
    if (planes == 2) split(out);
  }
  return true;
}

// The squares of 16 integers: sums of pairs in units of 256, rounded up.
GP_AVX2 inline __m256i squares(const uint8_t* q) {
  const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(q));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_madd_epi16(x, x), _mm256_set1_epi32(255)), 8);
}

GP_AVX2 void norms(const uint8_t* packed, int64_t length, bool right, int bits, uint32_t* out) {
  const int64_t steps = steps_of(length, kInt16Step);
  for (int64_t step = 0; step < steps; step += kChunk, packed += kChunk * kPlane) {
    const int64_t count = std::min<int64_t>(kChunk, steps - step);
    alignas(32) uint32_t lanes[kLanes];
    if (right) {
      for (int half = 0; half < 2; ++half) {
        __m256i sum = _mm256_setzero_si256();
        for (int64_t i = 0; i < count * kGroups; ++i)
          sum = _mm256_add_epi32(sum, squares(packed + 64 * i + 32 * half));
        _mm256_store_si256(reinterpret_cast<__m256i*>(lanes) + half, sum);
      }
    } else if (bits == 16) {  // two planes of digits, at most 128
      std::fill(lanes, lanes + kLanes, count * kInt16Step * (128 * 128 / 256));
    } else {
      for (int lane = 0; lane < kLanes; ++lane) {
        __m256i sum = _mm256_setzero_si256();
        for (int64_t i = 0; i < count; ++i)
          for (int half = 0; half < 2; ++half)
            sum = _mm256_add_epi32(sum, squares(packed + i * kPlane + lane * 64 + 32 * half));
        alignas(32) uint32_t words[8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(words), sum);
        lanes[lane] = std::accumulate(words, words + 8, uint32_t{0});
      }
    }
    out[step / kChunk] = *std::max_element(lanes, lanes + kLanes);
  }
}

// Four rows, from `row` on, by the sixteen columns of a right panel: eight accumulators. Fetches what
// comes next meanwhile. A function of its own: GCC then keeps them in registers.
GP_AVX2 __attribute__((noinline)) void four_rows(const Tile& t, const Part& part, int row, int panel,
                                                 Sums& sums) {
  __m256i s[4][2];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) s[r][0] = s[r][1] = _mm256_setzero_si256();
  const int64_t left_step = part.planes * kPlane;
  const uint8_t* left = t.left + part.step * left_step + part.plane * kPlane + row * 64;
  const uint8_t* right = t.right[panel] + part.step * kPlane;
  for (int64_t i = part.step; i < part.step + part.steps;
       ++i, left += left_step, right += kPlane) {
    const int pairs = pairs_of(t.length, i);
    for (int g = 0; g < pairs; ++g) {
      const __m256i* b = reinterpret_cast<const __m256i*>(right + 64 * g);
      _mm_prefetch(reinterpret_cast<const char*>(right + kChunk * kPlane + 64 * g), _MM_HINT_T0);
      const __m256i b0 = _mm256_load_si256(b), b1 = _mm256_load_si256(b + 1);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        int32_t pair;
        std::memcpy(&pair, left + 64 * r + 4 * g, 4);
        const __m256i a = _mm256_set1_epi32(pair);
        s[r][0] = _mm256_add_epi32(s[r][0], _mm256_madd_epi16(a, b0));
        s[r][1] = _mm256_add_epi32(s[r][1], _mm256_madd_epi16(a, b1));
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half)
      _mm256_store_si256(reinterpret_cast<__m256i*>(sums.part[row + r] + panel * kLanes) + half,
                         s[r][half]);
}

GP_AVX2 void multiply_avx2(const Tile& t) {
  all_parts(t, [&](const Part& part, Sums& sums) GP_AVX2 {
    for (int panel = 0; panel < 2 && t.right[panel]; ++panel)
      for (int row = 0; row < t.rows; row += 4) four_rows(t, part, row, panel, sums);
  });
}
#endif

}  // namespace

const Variant kScalar = {kInt16Step, {1, 2},          {1, 1},  pack_scalar<false>, pack_scalar<true>,
                         nullptr,    multiply_scalar, nullptr, nullptr};
#if defined(__x86_64__)
const Variant kAvx2 = {kInt16Step, {1, 2},        {1, 1},  pack_avx2<false>, pack_avx2<true>,
                       norms,      multiply_avx2, nullptr, nullptr};
#endif

}  // namespace gradproof
