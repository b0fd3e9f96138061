// Row kernels: whole compositions in one pass over a row, each sign one binary32 rounding.
//
// The bodies are plain loops. `rows.cpp` compiles them once per instruction level; contraction
// into fused multiply-adds is off, so every level computes the same roundings.

#pragma once

#include "functions.hpp"
#include "rows_kernels.hpp"

namespace gradproof {

// Element i of the composition is lambda(i), inlined into the loop that asks for it.
#define GP_EACH(i) [&](int64_t i) __attribute__((always_inline))
#define GP_EACH_INT(i) [&](int i) __attribute__((always_inline))

constexpr int32_t kMagnitude = 0x7fffffff, kInfinityBits = 0x7f800000;

GP_INLINE int32_t grid_exponent(int32_t largest) {
  const int32_t field = largest >> 23;
  return field > 1 ? field : 1;
}

GP_INLINE double two_to(int64_t exponent) { return double_of((exponent + 1023) << 52); }

// RNE32(s * 2^(exponent - 167)): one rounding even beyond 2^53, by a sticky bit. Only s = 0 gives
// a zero, and a positive one.
GP_INLINE float finish_sum(int64_t s, int32_t exponent) {
  const int64_t magnitude = s < 0 ? -s : s;
  double value = static_cast<double>(s);
  if (magnitude >= (int64_t{1} << 53))
    value = static_cast<double>((s >> 10) | ((s & 1023) != 0)) * 1024.0;
  return static_cast<float>(value * two_to(exponent - 167));
}

// The addend on its grid, as an integer: adding the magic constant rounds, ties to even; the product
// by a power of two is exact.
GP_INLINE int64_t on_grid(float x, double scale) {
  return bits_of(GP_MULTIPLY_ADD(static_cast<double>(x), scale, kMagic)) - bits_of(kMagic);
}

// Exact sum of x(0..n), n <= 2^21, rounded once. False when an addend is not finite.
template <typename Addend>
GP_INLINE bool exact_sum(int64_t n, Addend x, float& sum) {
  int32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t m = bits_of(x(i)) & kMagnitude;
    largest = m > largest ? m : largest;
  }
  if (largest >= kInfinityBits) return false;
  const int32_t exponent = grid_exponent(largest);
  const double scale = two_to(167 - exponent);
  int64_t s = 0;
  for (int64_t i = 0; i < n; ++i) s += on_grid(x(i), scale);
  sum = finish_sum(s, exponent);
  return true;
}

// Largest element, zero rule included; of a row with a NaN anything: its sum of exponentials then
// is not finite, which is how the kernel ends.
GP_INLINE float largest_of(const float* x, int64_t n) {
  // Ordered by integers: non-negative floats as they are, negative ones mirrored.
  int32_t most = INT32_MIN;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t b = bits_of(x[i]), key = b ^ ((b >> 31) & kMagnitude);
    most = key > most ? key : most;
  }
  const int32_t b = most ^ ((most >> 31) & kMagnitude);
  float largest;
  std::memcpy(&largest, &b, 4);
  return largest + 0.0f;
}

// Sum of exp(x - top), rounded once; `write(start, count, e)` gets the exponentials chunk by chunk.
// Their largest is exp(0) = 1, so the grid is known beforehand. False when one is not finite.
template <typename Write>
GP_INLINE bool sum_of_exponentials(const float* x, int64_t n, float top, Write write, float& sum) {
  constexpr int32_t one = 127;
  const double scale = two_to(167 - one);
  float e[kChunk];
  int64_t s = 0;
  int32_t largest = 0;
  for (int64_t start = 0; start < n; start += kChunk) {
    const int count = static_cast<int>(n - start < kChunk ? n - start : kChunk);
    rounded<kExp>(count, GP_EACH_INT(i) { return x[start + i] - top; }, e);
    for (int i = 0; i < count; ++i) {
      s += on_grid(e[i], scale);
      const int32_t m = bits_of(e[i]) & kMagnitude;
      largest = m > largest ? m : largest;
    }
    write(start, count, e);
  }
  sum = finish_sum(s, one);
  return largest < kInfinityBits;
}

GP_INLINE bool softmax_row(const Call& c, int64_t row) {
  const float* x = c.in[0] + row * c.n;
  float *y = c.out[0] + row * c.n, sum;
  const auto keep = [&](int64_t start, int count, const float* e) __attribute__((always_inline)) {
    std::memcpy(y + start, e, sizeof(float) * static_cast<size_t>(count));
  };
  if (!sum_of_exponentials(x, c.n, largest_of(x, c.n), keep, sum)) return false;
  for (int64_t i = 0; i < c.n; ++i) y[i] = y[i] / sum;
  return true;
}

GP_INLINE bool softmax_backward_row(const Call& c, int64_t row) {
  const float *g = c.in[0] + row * c.n, *y = c.in[1] + row * c.n;
  float *dx = c.out[0] + row * c.n, sum;
  if (!exact_sum(c.n, GP_EACH(i) { return g[i] * y[i]; }, sum)) return false;
  for (int64_t i = 0; i < c.n; ++i) dx[i] = g[i] * y[i] - y[i] * sum;
  return true;
}

GP_INLINE bool log_softmax_row(const Call& c, int64_t row) {
  const float* x = c.in[0] + row * c.n;
  const float top = largest_of(x, c.n);
  float *y = c.out[0] + row * c.n, sum;
  const auto drop = [](int64_t, int, const float*) __attribute__((always_inline)) {};
  if (!sum_of_exponentials(x, c.n, top, drop, sum)) return false;
  const float log_sum = log_rounded(sum);
  for (int64_t i = 0; i < c.n; ++i) y[i] = (x[i] - top) - log_sum;
  return true;
}

GP_INLINE bool log_softmax_backward_row(const Call& c, int64_t row) {
  const float *g = c.in[0] + row * c.n, *y = c.in[1] + row * c.n;
  float *dx = c.out[0] + row * c.n, sum;
  if (!exact_sum(c.n, GP_EACH(i) { return g[i]; }, sum)) return false;
  rounded_row<kExp>(c.n, GP_EACH(i) { return y[i]; }, dx);
  for (int64_t i = 0; i < c.n; ++i) dx[i] = g[i] - dx[i] * sum;
  return true;
}

// scalars: n as float, eps. in: x, weight or null, bias or null. out: y, mean, r.
GP_INLINE bool layer_norm_row(const Call& c, int64_t row) {
  const float *x = c.in[0] + row * c.n, *w = c.in[1], *b = c.in[2];
  float *y = c.out[0] + row * c.n, sum, squares;
  if (!exact_sum(c.n, GP_EACH(i) { return x[i]; }, sum)) return false;
  const float mu = sum / c.scalars[0];
  for (int64_t i = 0; i < c.n; ++i) y[i] = x[i] - mu;
  if (!exact_sum(c.n, GP_EACH(i) { return y[i] * y[i]; }, squares)) return false;
  const float r = 1.0f / std::sqrt(squares / c.scalars[0] + c.scalars[1]);
  for (int64_t i = 0; i < c.n; ++i) y[i] = y[i] * r;
  if (w)
    for (int64_t i = 0; i < c.n; ++i) y[i] = y[i] * w[i];
  if (b)
    for (int64_t i = 0; i < c.n; ++i) y[i] = y[i] + b[i];
  c.out[1][row] = mu;
  c.out[2][row] = r;
  return true;
}

// in: grad, x, mean, r, weight or null. out: dx, grad * h (whose column sums are dw).
GP_INLINE bool layer_norm_backward_row(const Call& c, int64_t row) {
  const float *g = c.in[0] + row * c.n, *x = c.in[1] + row * c.n, *w = c.in[4];
  const float mu = c.in[2][row], r = c.in[3][row];
  float *dx = c.out[0] + row * c.n, *gh = c.out[1] + row * c.n, first, second;
  if (w) {
    for (int64_t i = 0; i < c.n; ++i) dx[i] = g[i] * w[i];
  } else {
    for (int64_t i = 0; i < c.n; ++i) dx[i] = g[i];
  }
  if (!exact_sum(c.n, GP_EACH(i) { return dx[i]; }, first)) return false;
  if (!exact_sum(c.n, GP_EACH(i) { return dx[i] * ((x[i] - mu) * r); }, second)) return false;
  const float mean = first / c.scalars[0], slope = second / c.scalars[0];
  for (int64_t i = 0; i < c.n; ++i) {
    const float h = (x[i] - mu) * r;
    gh[i] = g[i] * h;
    dx[i] = ((dx[i] - mean) - h * slope) * r;
  }
  return true;
}

GP_INLINE bool sum_row(const Call& c, int64_t row) {
  const float* x = c.in[0] + row * c.n;
  return exact_sum(c.n, GP_EACH(i) { return x[i]; }, c.out[0][row]);
}

// The same of the squares, each rounded before it is added.
GP_INLINE bool square_sum_row(const Call& c, int64_t row) {
  const float* x = c.in[0] + row * c.n;
  return exact_sum(c.n, GP_EACH(i) { return x[i] * x[i]; }, c.out[0][row]);
}

// A long sum of squares in parts of n elements, `inner` in all: first the largest magnitude of each
// part (int32), then its integer sum on the grid of in[1], the exponent of all (int64).
GP_INLINE int64_t part_length(const Call& c, int64_t part) {
  const int64_t left = c.inner - part * c.n;
  return left < c.n ? left : c.n;
}

GP_INLINE bool square_largest_part(const Call& c, int64_t part) {
  const float* x = c.in[0] + part * c.n;
  const int64_t n = part_length(c, part);
  int32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t m = bits_of(x[i] * x[i]) & kMagnitude;
    largest = m > largest ? m : largest;
  }
  reinterpret_cast<int32_t*>(c.out[0])[part] = largest;
  return largest < kInfinityBits;
}

GP_INLINE bool square_sum_part(const Call& c, int64_t part) {
  const float* x = c.in[0] + part * c.n;
  const int64_t n = part_length(c, part);
  const double scale = two_to(167 - *reinterpret_cast<const int32_t*>(c.in[1]));
  int64_t s = 0;
  for (int64_t i = 0; i < n; ++i) s += on_grid(x[i] * x[i], scale);
  reinterpret_cast<int64_t*>(c.out[0])[part] = s;
  return true;
}

// in: an integer sum (int64), the exponent of its grid (int32).
GP_INLINE bool finish_sum_row(const Call& c, int64_t) {
  c.out[0][0] = finish_sum(*reinterpret_cast<const int64_t*>(c.in[0]),
                           *reinterpret_cast<const int32_t*>(c.in[1]));
  return true;
}

constexpr int kStripe = 64;  // neighbouring columns summed side by side

// Exact sums of `width` columns over n rows; row(k) points at the columns of row k.
template <typename Row>
GP_INLINE bool sum_columns(int64_t n, int width, Row row, float* out) {
  int32_t largest[kStripe] = {}, overall = 0;
  double scale[kStripe];
  int64_t s[kStripe] = {};
  for (int64_t k = 0; k < n; ++k) {
    const float* x = row(k);
    for (int i = 0; i < width; ++i) {
      const int32_t m = bits_of(x[i]) & kMagnitude;
      largest[i] = m > largest[i] ? m : largest[i];
    }
  }
  for (int i = 0; i < width; ++i) {
    overall = largest[i] > overall ? largest[i] : overall;
    scale[i] = two_to(167 - grid_exponent(largest[i]));
  }
  if (overall >= kInfinityBits) return false;
  for (int64_t k = 0; k < n; ++k) {
    const float* x = row(k);
    for (int i = 0; i < width; ++i) s[i] += on_grid(x[i], scale[i]);
  }
  for (int i = 0; i < width; ++i) out[i] = finish_sum(s[i], grid_exponent(largest[i]));
  return true;
}

// Sums over the middle axis of [outer, n, inner]; a "row" is one stripe of columns.
GP_INLINE bool sum_stripe(const Call& c, int64_t stripe) {
  const int64_t stripes = (c.inner + kStripe - 1) / kStripe;
  const int64_t outer = stripe / stripes, column = stripe % stripes * kStripe;
  const int64_t left = c.inner - column;
  const float* x = c.in[0] + outer * c.n * c.inner + column;
  return sum_columns(
      c.n, static_cast<int>(left < kStripe ? left : kStripe),
      [&](int64_t k) __attribute__((always_inline)) { return x + k * c.inner; },
      c.out[0] + outer * c.inner + column);
}

// in: source [N, inner], int64 order of its rows by output row, int64 first position of each output
// row in that order. out: [rows, inner], each row the exact sums of the source rows that hit it.
GP_INLINE bool index_sum_row(const Call& c, int64_t row) {
  const int64_t *order = reinterpret_cast<const int64_t*>(c.in[1]),
                *first = reinterpret_cast<const int64_t*>(c.in[2]);
  float* out = c.out[0] + row * c.inner;
  if (first[row] == first[row + 1]) {
    std::memset(out, 0, sizeof(float) * c.inner);
    return true;
  }
  for (int64_t column = 0; column < c.inner; column += kStripe) {
    const int64_t left = c.inner - column;
    const int width = static_cast<int>(left < kStripe ? left : kStripe);
    const auto source = [&](int64_t k) __attribute__((always_inline)) {
      return c.in[0] + order[first[row] + k] * c.inner + column;
    };
    if (!sum_columns(first[row + 1] - first[row], width, source, out + column)) return false;
  }
  return true;
}

// Elementwise kernels: [begin, end) of independent elements.

template <Function f>
GP_INLINE void map_range(const Call& c, int64_t begin, int64_t end) {
  const float* x = c.in[0] + begin;
  rounded_row<f>(end - begin, GP_EACH(i) { return x[i]; }, c.out[0] + begin);
}

GP_INLINE void sqrt_range(const Call& c, int64_t begin, int64_t end) {
  const float* x = c.in[0];
  for (int64_t i = begin; i < end; ++i) c.out[0][i] = std::sqrt(x[i]);
}

GP_INLINE void relu_range(const Call& c, int64_t begin, int64_t end) {
  const float* x = c.in[0];
  // In this order NaN passes, and zeros of both signs give +0.
  for (int64_t i = begin; i < end; ++i) c.out[0][i] = x[i] <= 0.0f ? 0.0f : x[i];
}

GP_INLINE void sigmoid_range(const Call& c, int64_t begin, int64_t end) {
  const float* x = c.in[0] + begin;
  float* y = c.out[0] + begin;
  rounded_row<kExp>(end - begin, GP_EACH(i) { return -x[i]; }, y);
  for (int64_t i = 0; i < end - begin; ++i) y[i] = 1.0f / (1.0f + y[i]);
}

GP_INLINE void sigmoid_backward_range(const Call& c, int64_t begin, int64_t end) {
  const float *g = c.in[0], *y = c.in[1];
  for (int64_t i = begin; i < end; ++i) c.out[0][i] = g[i] * ((1.0f - y[i]) * y[i]);
}

GP_INLINE void tanh_backward_range(const Call& c, int64_t begin, int64_t end) {
  const float *g = c.in[0], *y = c.in[1];
  for (int64_t i = begin; i < end; ++i) c.out[0][i] = g[i] * (1.0f - y[i] * y[i]);
}

// scalars: k, 0.044715, 0.134145.
GP_INLINE void gelu_tanh_range(const Call& c, int64_t begin, int64_t end) {
  const float *x = c.in[0] + begin, k = c.scalars[0], cubic = c.scalars[1];
  float* y = c.out[0] + begin;
  rounded_row<kTanh>(end - begin, GP_EACH(i) {
    return k * (x[i] + cubic * ((x[i] * x[i]) * x[i]));
  }, y);
  for (int64_t i = 0; i < end - begin; ++i) y[i] = (0.5f * x[i]) * (1.0f + y[i]);
}

GP_INLINE void gelu_tanh_backward_range(const Call& c, int64_t begin, int64_t end) {
  const float *g = c.in[0] + begin, *x = c.in[1] + begin;
  const float k = c.scalars[0], cubic = c.scalars[1], cubic3 = c.scalars[2];
  float* dx = c.out[0] + begin;
  rounded_row<kTanh>(end - begin, GP_EACH(i) {
    return k * (x[i] + cubic * ((x[i] * x[i]) * x[i]));
  }, dx);
  for (int64_t i = 0; i < end - begin; ++i) {
    const float t = dx[i], slope = k * (1.0f + cubic3 * (x[i] * x[i]));
    dx[i] = g[i] * (0.5f * (1.0f + t) + (0.5f * x[i]) * ((1.0f - t * t) * slope));
  }
}

GP_INLINE void silu_range(const Call& c, int64_t begin, int64_t end) {
  const float* x = c.in[0] + begin;
  float* y = c.out[0] + begin;
  rounded_row<kExp>(end - begin, GP_EACH(i) { return -x[i]; }, y);
  for (int64_t i = 0; i < end - begin; ++i) y[i] = x[i] / (1.0f + y[i]);
}

GP_INLINE void silu_backward_range(const Call& c, int64_t begin, int64_t end) {
  const float *g = c.in[0] + begin, *x = c.in[1] + begin;
  float* dx = c.out[0] + begin;
  rounded_row<kExp>(end - begin, GP_EACH(i) { return -x[i]; }, dx);
  for (int64_t i = 0; i < end - begin; ++i) {
    const float s = 1.0f / (1.0f + dx[i]);
    dx[i] = g[i] * (s * (1.0f + x[i] * (1.0f - s)));
  }
}

// in: p, grad, m, v. out: p, m, v. scalars: decay, b1, b1c, b2, b2c, step size, unbias, eps.
GP_INLINE void adamw_range(const Call& c, int64_t begin, int64_t end) {
  const float *p = c.in[0], *g = c.in[1], *m = c.in[2], *v = c.in[3], *s = c.scalars;
  const float d = s[0], b1 = s[1], b1c = s[2], b2 = s[3], b2c = s[4], size = s[5], u = s[6],
              eps = s[7];
  float *po = c.out[0], *mo = c.out[1], *vo = c.out[2];
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) {
    const float mean = m[i] * b1 + g[i] * b1c;
    const float square = v[i] * b2 + (g[i] * g[i]) * b2c;
    const float denominator = std::sqrt(square) * u + eps;
    mo[i] = mean;
    vo[i] = square;
    po[i] = p[i] * d - (mean / denominator) * size;
  }
}

}  // namespace gradproof
