// The row kernels at every instruction level, and the loop that shares rows between threads.

#include <algorithm>
#include <atomic>

#include "library.hpp"
#include "rows.hpp"

namespace gradproof {

HardCases hard_cases[kFunctions];

namespace {

using Range = bool (*)(const Call&, int64_t, int64_t);

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
  kKernels
};

// One level's kernels. A row kernel stops at the first row that is not finite.
#define GP_ROWS(TARGET, NAME, ROW)                                       \
  TARGET bool NAME(const Call& c, int64_t begin, int64_t end) {          \
    for (int64_t row = begin; row < end; ++row)                          \
      if (!ROW(c, row)) return false;                                    \
    return true;                                                         \
  }
#define GP_ELEMENTS(TARGET, NAME, RANGE)                                 \
  TARGET bool NAME(const Call& c, int64_t begin, int64_t end) {          \
    RANGE(c, begin, end);                                                \
    return true;                                                         \
  }
#define GP_LEVEL(LEVEL, TARGET)                                          \
  namespace LEVEL {                                                      \
  GP_ELEMENTS(TARGET, map_exp, map_range<kExp>)                          \
  GP_ELEMENTS(TARGET, map_tanh, map_range<kTanh>)                        \
  GP_ROWS(TARGET, softmax, softmax_row)                                  \
  GP_ROWS(TARGET, softmax_backward, softmax_backward_row)                \
  GP_ROWS(TARGET, log_softmax, log_softmax_row)                          \
  GP_ROWS(TARGET, log_softmax_backward, log_softmax_backward_row)        \
  GP_ROWS(TARGET, layer_norm, layer_norm_row)                            \
  GP_ROWS(TARGET, layer_norm_backward, layer_norm_backward_row)          \
  GP_ROWS(TARGET, sum_rows, sum_row)                                     \
  GP_ROWS(TARGET, sum_stripes, sum_stripe)                               \
  GP_ELEMENTS(TARGET, gelu_tanh, gelu_tanh_range)                        \
  GP_ELEMENTS(TARGET, gelu_tanh_backward, gelu_tanh_backward_range)      \
  GP_ELEMENTS(TARGET, silu, silu_range)                                  \
  GP_ELEMENTS(TARGET, silu_backward, silu_backward_range)                \
  GP_ELEMENTS(TARGET, adamw, adamw_range)                                \
  GP_ROWS(TARGET, index_sum, index_sum_row)                              \
  constexpr Range kTable[kKernels] = {                                   \
      map_exp,     map_tanh,           softmax, softmax_backward,        \
      log_softmax, log_softmax_backward, layer_norm, layer_norm_backward, \
      sum_rows,    sum_stripes,        gelu_tanh, gelu_tanh_backward,    \
      silu,        silu_backward,      adamw, index_sum};                \
  }

GP_LEVEL(scalar, )
#if defined(__x86_64__)
GP_LEVEL(avx2, __attribute__((target("avx2"))))
GP_LEVEL(avx512, __attribute__((target(
    "avx2,avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512"))))
#endif

const Range* kernels_of(int level) {
#if defined(__x86_64__)
  if (level >= kLevelVnni) return avx512::kTable;
  if (level >= kLevelAvx2) return avx2::kTable;
#endif
  (void)level;
  return scalar::kTable;
}

}  // namespace
}  // namespace gradproof

using namespace gradproof;

// Sets one function's hard cases; the memory must outlive the library.
extern "C" void gradproof_hard_cases(int function, const uint32_t* pairs, int64_t count) {
  hard_cases[function] = {pairs, count};
}

// Runs a row kernel over `count` rows (or elements), in shares of `grain`. kNonFinite means that
// the outputs are undefined and the composition must be asked.
extern "C" int gradproof_rows(int kernel, int level, int threads, int64_t count, int64_t grain,
                              int64_t n, int64_t inner, const float* const* in, float* const* out,
                              const float* scalars) {
  Call call = {n, inner, {}, {}, scalars};
  std::copy(in, in + 6, call.in);
  std::copy(out, out + 4, call.out);
  const Range run = kernels_of(level)[kernel];
  const int64_t shares = (count + grain - 1) / grain;
  std::atomic<bool> finite{true};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1 && shares > 1)
  for (int64_t i = 0; i < shares; ++i)
    if (!run(call, i * grain, std::min(count, (i + 1) * grain))) finite = false;
  return finite ? kDone : kNonFinite;
}
