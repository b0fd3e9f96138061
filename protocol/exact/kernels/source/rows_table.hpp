// One instruction level's row kernels. The file that includes this names the level:
//   GP_LEVEL   its namespace
//   GP_TARGET  the attribute that lets the compiler use its instructions
//   GP_FUSED   whether they have a fused multiply-add

#pragma once

#include "rows.hpp"
#include "rows_kernels.hpp"

namespace gradproof {
namespace {

// A row kernel stops at the first row that is not finite.
#define GP_ROWS(NAME, ROW)                                               \
  GP_TARGET bool NAME(const Call& c, int64_t begin, int64_t end) {       \
    for (int64_t row = begin; row < end; ++row)                          \
      if (!ROW(c, row)) return false;                                    \
    return true;                                                         \
  }
#define GP_ELEMENTS(NAME, RANGE)                                         \
  GP_TARGET bool NAME(const Call& c, int64_t begin, int64_t end) {       \
    RANGE(c, begin, end);                                                \
    return true;                                                         \
  }

GP_ELEMENTS(map_exp, map_range<kExp>)
GP_ELEMENTS(map_tanh, map_range<kTanh>)
GP_ROWS(softmax, softmax_row)
GP_ROWS(softmax_backward, softmax_backward_row)
GP_ROWS(log_softmax, log_softmax_row)
GP_ROWS(log_softmax_backward, log_softmax_backward_row)
GP_ROWS(layer_norm, layer_norm_row)
GP_ROWS(layer_norm_backward, layer_norm_backward_row)
GP_ROWS(sum_rows, sum_row)
GP_ROWS(sum_stripes, sum_stripe)
GP_ELEMENTS(gelu_tanh, gelu_tanh_range)
GP_ELEMENTS(gelu_tanh_backward, gelu_tanh_backward_range)
GP_ELEMENTS(silu, silu_range)
GP_ELEMENTS(silu_backward, silu_backward_range)
GP_ELEMENTS(adamw, adamw_range)
GP_ROWS(index_sum, index_sum_row)
GP_ELEMENTS(map_sqrt, sqrt_range)
GP_ELEMENTS(relu, relu_range)
GP_ELEMENTS(sigmoid, sigmoid_range)
GP_ELEMENTS(sigmoid_backward, sigmoid_backward_range)
GP_ELEMENTS(tanh_backward, tanh_backward_range)
GP_ROWS(square_sum, square_sum_row)
GP_ROWS(square_largest, square_largest_part)
GP_ROWS(square_sum_parts, square_sum_part)
GP_ROWS(finish, finish_sum_row)
constexpr Range kTable[kKernels] = {
    map_exp,     map_tanh,           softmax, softmax_backward,
    log_softmax, log_softmax_backward, layer_norm, layer_norm_backward,
    sum_rows,    sum_stripes,        gelu_tanh, gelu_tanh_backward,
    silu,        silu_backward,      adamw, index_sum,
    map_sqrt,    relu, sigmoid, sigmoid_backward, tanh_backward,
    square_sum,  square_largest,     square_sum_parts, finish};

}  // namespace

const Range* GP_LEVEL() { return kTable; }

}  // namespace gradproof
