// What the GEMM driver and its instruction-set variants share: operands, packed panels, tiles.
//
// A panel is 16 rows of A or 16 columns of B ("lanes") over one block of consecutive k. It is read
// once, scaled by a power of two per lane and rounded to integers, then laid out in steps: 16
// lanes of 64 bytes for each plane. A left plane holds a lane's k side by side ([lane][k]), a right
// plane interleaves them ([group][lane][k]), a group being the k that fill 4 bytes. Every operation
// is exact or is the one rounding that the profile names.

#pragma once

#include <cstdint>
#include <cstring>

#define GP_INLINE static inline __attribute__((always_inline))

namespace gradproof {

constexpr int kLanes = 16;       // lanes of a panel; rows of a tile
constexpr int kTileColumns = 32;  // columns of a tile: two right panels
constexpr int64_t kPlane = 1024;  // bytes of one plane of a step
constexpr int kGroups = 16;       // 4-byte groups of a lane in one step
constexpr int64_t kLongestBlock = 1024;
constexpr int32_t kInfinity = 0x7f800000;

// How operands become integers: |q| <= 2^(bits - 1), see docs/numerics.md.
struct Rounding {
  int bits;       // b of the profile
  int32_t carry;  // added to a maximum's bits before its exponent is taken
  int32_t bias() const { return bits + 125; }
};

// Sixteen lanes of one block: element (lane, k) at data[lane * lane_stride + k * k_stride]. One of
// the strides is 1.
struct Panel {
  const float* data;
  int64_t lane_stride, k_stride;
  int lanes;  // 1..16; the others are zero
  int64_t length;
};

// One 16 x 32 tile of C over one block.
struct Tile {
  const uint8_t *left, *right[2];  // packed panels; the second right one may be null
  const double *row_scale, *column_scale;
  float* c;
  int64_t ldc, length;
  int rows, columns, bits;
  const uint32_t *left_norm, *right_norm[2];  // see Variant; null where they are not kept
  bool fold;                                  // add to C instead of writing it
};

using Pack = bool (*)(const Panel&, const Rounding&, uint8_t* out, double* scale);

// Writes, for each chunk of steps of a packed panel, the largest of its lanes' sums of squares in
// units of 256, rounded up. They tell how many products an int32 can add up.
using Norms = void (*)(const uint8_t* packed, int64_t length, bool right, int bits, uint32_t* out);

// One way to pack and multiply.
struct Variant {
  int64_t step;  // consecutive k of one step
  int left_planes[2], right_planes[2];  // of b = 14 and b = 16
  Pack pack_left, pack_right;           // false: an element is not finite
  Norms norms;                          // may be null
  void (*multiply)(const Tile&);
  void (*enter)(), (*leave)();  // around a thread's tiles; may be null
};

extern const Variant kScalar;
#if defined(__x86_64__)
extern const Variant kAvx2, kVnni, kAmx;
#endif

constexpr int64_t kInt16Step = 30;  // see gemm_int16.cpp
constexpr int64_t kInt8Step = 64;

GP_INLINE int64_t steps_of(int64_t length, int64_t step) { return (length + step - 1) / step; }

GP_INLINE double power_of_two64(int64_t exponent) {
  const int64_t bits = (exponent + 1023) << 52;
  double value;
  std::memcpy(&value, &bits, 8);
  return value;
}

GP_INLINE float power_of_two32(int32_t exponent) {
  const int32_t bits = (exponent + 127) << 23;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// The exponent field whose scale fits a lane with this largest magnitude.
GP_INLINE int32_t scale_exponent(int32_t largest, const Rounding& r) {
  const int32_t field = (largest + r.carry) >> 23;
  return field > 1 ? field : 1;
}

}  // namespace gradproof
