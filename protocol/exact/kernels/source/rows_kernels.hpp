// The row kernels' numbers, as `rows.py` counts them, and their common form.

#pragma once

#include <cstdint>

namespace gradproof {

// Operands of one call: `n` is the length of a row, or unused where elements are independent.
struct Call {
  int64_t n, inner;
  const float* in[6];
  float* out[4];
  const float* scalars;
};

// Rows or elements [begin, end); false when an operand is not finite.
using Range = bool (*)(const Call&, int64_t begin, int64_t end);

enum Kernel {
  kMapExp,
  kMapTanh,
  kSoftmax,
  kSoftmaxBackward,
  kLogSoftmax,
  kLogSoftmaxBackward,
  kLayerNorm,
  kLayerNormBackward,
  kSumRows,
  kSumStripes,
  kGeluTanh,
  kGeluTanhBackward,
  kSilu,
  kSiluBackward,
  kAdamW,
  kIndexSum,
  kSqrt,
  kRelu,
  kSigmoid,
  kSigmoidBackward,
  kTanhBackward,
  kSquareSum,
  kSquareLargestPart,
  kSquareSumPart,
  kFinishSum,
  kKernels
};

// The kernels of each instruction level, by number.
const Range* scalar_rows();
#if defined(__x86_64__)
const Range* avx2_rows();
const Range* avx512_rows();
#endif

}  // namespace gradproof
