// What the loaded library can say about the machine.

#include "library.hpp"

using namespace gradproof;

// The highest level whose instructions this processor has.
extern "C" int gradproof_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return kLevelScalar;
  const bool vnni = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vnni");
  return vnni ? kLevelVnni : kLevelAvx2;
#else
  return kLevelScalar;
#endif
}
