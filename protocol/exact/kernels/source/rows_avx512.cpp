// The row kernels with AVX512.

#if defined(__x86_64__)
#define GP_LEVEL avx512_rows
#define GP_TARGET \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")))
#define GP_FUSED 1
#include "rows_table.hpp"
#endif
