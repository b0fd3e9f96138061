// The sums of one tile on int16 operands: how many products make a part, and what the parts become.

#pragma once

#include <algorithm>

#include "gemm.hpp"

namespace gradproof {

constexpr int kPairs = kInt16Step / 2;
constexpr int kChunk = 4;  // steps whose norms are kept together
constexpr int kMost = 3;   // chunks of a part: their panels stay in the fastest cache

// Steps of the part that begins with `step`. By Cauchy and Schwarz no sum exceeds the root of the
// product of its operands' sums of squares: where that product is below 2^62 the sum fits an int32.
// An overflow on the way does not matter, additions being modulo 2^32. One step always fits.
GP_INLINE int64_t steps_together(const Tile& t, int64_t step, int64_t steps) {
  if (!t.left_norm || step % kChunk) return 1;
  const int64_t first = step / kChunk, last = std::min((steps + kChunk - 1) / kChunk, first + kMost);
  uint64_t left = 0, right = 0;
  int64_t chunk = first;
  for (; chunk < last; ++chunk) {
    left += t.left_norm[chunk];
    right += std::max(t.right_norm[0][chunk], t.right_norm[1][chunk]);
    if (left * right >= uint64_t{1} << 46) break;  // 2^62 in units of 2^8 times 2^8
  }
  return chunk == first ? 1 : std::min(chunk * kChunk, steps) - step;
}

GP_INLINE int pairs_of(int64_t length, int64_t step) {
  const int64_t pairs = (length - step * kInt16Step + 1) / 2;
  return static_cast<int>(pairs < kPairs ? pairs : kPairs);
}

// One of several parts of a tile's sums: `steps` steps, from `step` on, of one plane of the left
// operand.
struct Part {
  int64_t step, steps;
  int plane, planes;
  double weight() const { return planes == 2 && plane == 0 ? 256.0 : 1.0; }
};

// The sums of a tile: of one part, and of the parts before it, integers below 2^40.
struct Sums {
  alignas(64) int32_t part[kLanes][kTileColumns];
  alignas(64) double total[kLanes][kTileColumns];
};

// Adds a part's sums to the totals, which the first part writes.
template <bool first>
GP_INLINE void add_up(const Tile& t, const Part& part, Sums& sums) {
  const double weight = part.weight();
  const int columns = t.right[1] ? kTileColumns : kLanes;
  for (int r = 0; r < t.rows; ++r)
    for (int i = 0; i < columns; ++i)
      sums.total[r][i] = sums.part[r][i] * weight + (first ? 0.0 : sums.total[r][i]);
}

// Adds the last part's sums, scales, rounds once, writes or folds; |S| <= 2^40, and all products
// with powers of two are exact.
template <bool only, bool fold>
GP_INLINE void finish(const Tile& t, const Sums& sums, int columns) {
  for (int r = 0; r < t.rows; ++r) {
    float* c = t.c + r * t.ldc;
    const double row_scale = t.row_scale[r];
#pragma GCC ivdep
    for (int i = 0; i < columns; ++i) {
      const double s = sums.part[r][i] + (only ? 0.0 : sums.total[r][i]);
      // Added to +0, or to an element of C, the -0 of a tiny negative result becomes +0.
      c[i] = (fold ? c[i] : 0.0f) + static_cast<float>(s * (row_scale * t.column_scale[i]));
    }
  }
}

// Of whole tiles the compiler knows the width.
template <bool only>
GP_INLINE void finish(const Tile& t, const Sums& sums) {
  const bool whole = t.columns == kTileColumns;
  if (t.fold)
    finish<only, true>(t, sums, whole ? kTileColumns : t.columns);
  else if (whole)
    finish<only, false>(t, sums, kTileColumns);
  else
    finish<only, false>(t, sums, t.columns);
}

// Multiplies part after part by multiply(part, sums).
template <typename Multiply>
GP_INLINE void all_parts(const Tile& t, Multiply multiply) {
  Sums sums;
  Part part = {0, 0, 0, t.bits == 16 ? 2 : 1};
  const int64_t all = steps_of(t.length, kInt16Step);
  for (; part.step < all; part.step += part.steps) {
    part.steps = steps_together(t, part.step, all);
    for (part.plane = 0; part.plane < part.planes; ++part.plane) {
      multiply(part, sums);
      const bool first = part.step == 0 && part.plane == 0;
      const bool last = part.step + part.steps == all && part.plane == part.planes - 1;
      if (last)
        first ? finish<true>(t, sums) : finish<false>(t, sums);
      else
        first ? add_up<true>(t, part, sums) : add_up<false>(t, part, sums);
    }
  }
}

}  // namespace gradproof
