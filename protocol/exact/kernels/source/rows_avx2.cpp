// The row kernels with AVX2.

#if defined(__x86_64__)
#define GP_LEVEL avx2_rows
#define GP_TARGET __attribute__((target("avx2,fma")))
#define GP_FUSED 1
#include "rows_table.hpp"
#endif
