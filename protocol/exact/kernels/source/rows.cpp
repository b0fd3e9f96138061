// Finds a row kernel by number and instruction level, and shares its rows between threads.

#include "rows_kernels.hpp"

#include <algorithm>
#include <atomic>

#include "functions.hpp"
#include "library.hpp"

namespace gradproof {

HardCases hard_cases[kFunctions];

namespace {

const Range* kernels_of(int level) {
#if defined(__x86_64__)
  if (level >= kLevelVnni) return avx512_rows();
  if (level >= kLevelAvx2) return avx2_rows();
#endif
  (void)level;
  return scalar_rows();
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
