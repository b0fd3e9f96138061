// The sums of one tile on int16 operands, when they are split, and what they add up to.

#pragma once

#include "gemm.hpp"

namespace gradproof {

constexpr int kPairs = kInt16Step / 2;
constexpr int kChunk = 4;  // steps

// A chunk of steps whose sums cannot overflow int32 whatever the left operand holds: no lane of the
// right panel has more than this in magnitudes. It spares the split after each step.
GP_INLINE int32_t calm_limit(int bits) { return bits == 16 ? (1 << 24) - 1 : (1 << 18) - 1; }

// Steps to sum before the next split, from `step` on.
GP_INLINE int64_t steps_together(const Tile& t, int64_t step, int64_t steps) {
  const bool calm = t.calm >> (step / kChunk) & 1;
  const int64_t left = steps - step;
  return calm && step % kChunk == 0 ? (left < kChunk ? left : kChunk) : 1;
}

GP_INLINE int pairs_of(int64_t length, int64_t step) {
  const int64_t pairs = (length - step * kInt16Step + 1) / 2;
  return static_cast<int>(pairs < kPairs ? pairs : kPairs);
}

// Of the sums s between two splits: s >> 16 added up, and s added up modulo 2^32. The first split
// writes, the others add: a tile's sums are 4 KiB, and clearing them took 5 % of its time at K = 512.
struct Sums {
  alignas(64) int32_t high[kLanes][kTileColumns];
  alignas(64) uint32_t wrapped[kLanes][kTileColumns];
};

// The sum of all s. What `high` dropped lies in [0, 2^16) per split and there are at most 35 splits
// in a block, so the difference modulo 2^32 is that rest itself.
GP_INLINE double total_of(const Sums& sums, int row, int column) {
  const uint32_t high = static_cast<uint32_t>(sums.high[row][column]);
  const uint32_t rest = sums.wrapped[row][column] - (high << 16);
  return static_cast<double>(sums.high[row][column]) * 65536.0 +
         static_cast<double>(static_cast<int32_t>(rest));
}

// Scales, rounds once, writes or folds; |S| <= 2^40 and all products with powers of two are exact.
GP_INLINE void finish(const Tile& t, const Sums* sums) {
  for (int r = 0; r < t.rows; ++r) {
    float* c = t.c + r * t.ldc;
    for (int i = 0; i < t.columns; ++i) {
      double s = total_of(sums[0], r, i);
      if (t.bits == 16) s = s * 256.0 + total_of(sums[1], r, i);
      // Adding +0 turns the -0 of a tiny negative result into the profile's +0.
      const float value = static_cast<float>(s * t.row_scale[r] * t.column_scale[i]) + 0.0f;
      c[i] = t.fold ? c[i] + value : value;
    }
  }
}

}  // namespace gradproof
