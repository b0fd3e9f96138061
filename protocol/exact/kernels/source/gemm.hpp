// What the GEMM driver and its instruction-set variants share: panels, scales, digits.
//
// A panel is 16 rows of A or 16 columns of B ("lanes") over one block of consecutive k. It is read
// once, scaled by a power of two per lane, rounded to 14-bit integers and laid out as the tile
// kernels want it. Every step is exact or is the one rounding that the profile names.

#pragma once

#include <cstdint>
#include <cstring>

#define GP_INLINE static inline __attribute__((always_inline))

namespace gradproof {

constexpr int kLanes = 16;   // lanes of a panel; columns of a tile
constexpr int kRows = 8;     // rows of a tile: half a panel
constexpr int32_t kInfinity = 0x7f800000;
constexpr int kBias = 139;   // 127 + (b - 2), b = 14

// One operand: `lane` counts rows of A or columns of B.
struct Operand {
  const float* data;
  int64_t lane_stride, k_stride, lanes;
};

// Sixteen lanes of one block, k-major: element (k, lane) at data[k * stride + lane].
struct Panel {
  const float* data;
  int64_t stride, length;
};

// Where one packed panel goes. `sums` holds per digit the lanes' sums over the block.
struct Packed {
  uint8_t* bytes;
  double* scale;
  int32_t* sums;
};

// One 8 x 16 tile of C over one block.
struct Tile {
  const uint8_t *left, *right;
  const int32_t* sums;  // of the left rows, [3][16], at the tile's first row
  const double *row_scale, *column_scale;
  float* c;
  int64_t ldc, groups;
  int rows, columns;
  bool fold;  // add to C instead of writing it
};

// One way to pack and multiply. A group is the number of consecutive k that one step consumes.
struct Variant {
  int64_t group, left_bytes, right_bytes;  // bytes of 16 lanes in one group
  bool (*pack_left)(const Panel&, const Packed&);  // false: an element is not finite
  bool (*pack_right)(const Panel&, const Packed&);
  void (*tile)(const Tile&);
  // Transposes 16 lanes that lie k-contiguous into [k][16]; returns how many k it covered.
  int64_t (*gather)(const float* from, int64_t lane_stride, int64_t length, float* to);
};

extern const Variant kScalar;
#if defined(__x86_64__)
extern const Variant kAvx2;
extern const Variant kVnni;
int64_t gather_avx2(const float* from, int64_t lane_stride, int64_t length, float* to);
#endif

struct LaneScale {
  float first[kLanes], second[kLanes];
};

GP_INLINE float power_of_two32(int32_t exponent) {
  const int32_t bits = (exponent + 127) << 23;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

GP_INLINE double power_of_two64(int64_t exponent) {
  const int64_t bits = (exponent + 1023) << 52;
  double value;
  std::memcpy(&value, &bits, 8);
  return value;
}

// Per lane: the largest magnitude, its exponent field, and 2^(139 - E) as a product of two factors
// (2^138 alone is beyond binary32). Returns whether every element is finite.
GP_INLINE bool scale_lanes(const Panel& panel, LaneScale& lane_scale, double* scale) {
  int32_t largest[kLanes] = {};
  for (int64_t k = 0; k < panel.length; ++k) {
    int32_t bits[kLanes];
    std::memcpy(bits, panel.data + k * panel.stride, sizeof bits);
    for (int i = 0; i < kLanes; ++i) {
      const int32_t magnitude = bits[i] & 0x7fffffff;
      largest[i] = magnitude > largest[i] ? magnitude : largest[i];
    }
  }
  int32_t overall = 0;
  for (int i = 0; i < kLanes; ++i) {
    const int32_t field = largest[i] >> 23, exponent = field > 1 ? field : 1;
    const int32_t shift = kBias - exponent, first = shift < 127 ? shift : 127;
    lane_scale.first[i] = power_of_two32(first);
    lane_scale.second[i] = power_of_two32(shift - first);
    scale[i] = power_of_two64(exponent - kBias);
    overall = largest[i] > overall ? largest[i] : overall;
  }
  return overall < kInfinity;
}

// q of `count` consecutive k from k0, zero beyond the block's end: q[j][lane].
template <int count>
GP_INLINE void quantise(const Panel& panel, int64_t k0, const LaneScale& s,
                        int32_t (&q)[count][kLanes]) {
  // Adding 1.5 * 2^23 leaves no bits below the unit: the addition itself rounds, ties to even.
  constexpr float magic = 12582912.0f;
  for (int j = 0; j < count; ++j) {
    if (k0 + j >= panel.length) {
      for (int i = 0; i < kLanes; ++i) q[j][i] = 0;
      continue;
    }
    const float* x = panel.data + (k0 + j) * panel.stride;
    for (int i = 0; i < kLanes; ++i) {
      const float scaled = x[i] * s.first[i] * s.second[i];
      q[j][i] = static_cast<int32_t>((scaled + magic) - magic);
    }
  }
}

// q = high * 128 + low, both in [-64, 64].
GP_INLINE int32_t high_digit(int32_t q) { return (q + 64) >> 7; }
GP_INLINE int32_t low_digit(int32_t q) { return q - high_digit(q) * 128; }

}  // namespace gradproof
