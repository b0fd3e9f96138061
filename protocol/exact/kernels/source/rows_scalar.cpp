// The row kernels in plain C++.

#define GP_LEVEL scalar_rows
#define GP_TARGET
#define GP_FUSED 0
#include "rows_table.hpp"
