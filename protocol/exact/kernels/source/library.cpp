// What the loaded library can say about the machine.

#include "library.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>

namespace gradproof {
namespace {

// Whether the processor has int8 tiles and the kernel lets this process use them: their registers
// are large, so Linux hands them out on request.
bool amx() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
  constexpr long request_permission = 0x1023, tile_data = 18;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & tile) == 0 || (d & int8) == 0) return false;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

}  // namespace
}  // namespace gradproof

using namespace gradproof;

// The highest level whose instructions this processor has.
extern "C" int gradproof_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return kLevelScalar;
  const bool vnni = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vnni");
  if (!vnni) return kLevelAvx2;
  return amx() ? kLevelAmx : kLevelVnni;
#else
  return kLevelScalar;
#endif
}

// Asks the kernel to back whole 2 MiB pages of this memory by huge ones; a refusal changes nothing.
extern "C" void gradproof_prefer_huge_pages(void* memory, int64_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t page = uintptr_t{2} << 20;
  const uintptr_t start = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (start + page - 1) / page * page,
                  last = (start + static_cast<uintptr_t>(bytes)) / page * page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}
