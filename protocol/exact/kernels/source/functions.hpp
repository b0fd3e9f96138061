// exp and tanh in binary64, written as plain loops that the compiler turns into vectors.
//
// Each evaluation is within 3 ulp of binary64. Where the result lies near a binary32 rounding
// boundary the argument is looked up among the profile's hard cases, as `functions.py` does, so
// both return the correctly rounded value.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define GP_INLINE static inline __attribute__((always_inline))

// a * b + c where every rounding of it would do: inside an evaluation that is rounded afterwards,
// or where the product is exact. GP_FUSED says that the target has the instruction.
#if GP_FUSED
#define GP_MULTIPLY_ADD(a, b, c) __builtin_fma(a, b, c)
#else
#define GP_MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

namespace gradproof {

constexpr int kChunk = 256;  // elements evaluated before hard cases are looked for

enum Function { kExp = 0, kTanh = 1, kLog = 2, kFunctions = 3 };

// One function's hard cases: pairs (input bits, result bits); set once, before the first use.
struct HardCases {
  const uint32_t* pairs = nullptr;
  int64_t count = 0;
};
extern HardCases hard_cases[kFunctions];

GP_INLINE int64_t bits_of(double x) {
  int64_t bits;
  std::memcpy(&bits, &x, 8);
  return bits;
}

GP_INLINE double double_of(int64_t bits) {
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}

GP_INLINE int32_t bits_of(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

// Whether rounding `value` to binary32 needs the table: within 16 ulp of a boundary.
GP_INLINE int64_t is_near(double value) {
  constexpr int64_t dropped = (int64_t{1} << 29) - 1, midpoint = int64_t{1} << 28, window = 16;
  const int64_t distance = (bits_of(value) & dropped) - midpoint;
  return (distance <= window) & (distance >= -window);
}

inline float look_up(Function f, float x, float rounded) {
  const uint32_t bits = static_cast<uint32_t>(bits_of(x));
  for (int64_t i = 0; i < hard_cases[f].count; ++i) {
    if (hard_cases[f].pairs[2 * i] == bits) {
      float answer;
      std::memcpy(&answer, &hard_cases[f].pairs[2 * i + 1], 4);
      return answer;
    }
  }
  return rounded;
}

constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to a whole number

// expm1 of r, |r| <= ln(2)/2, by its Taylor series; the first omitted term is below 2^-57.
GP_INLINE double expm1_reduced(double r) {
  double q = 1.0 / 6227020800.0;
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 479001600.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 39916800.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 3628800.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 362880.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 40320.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 5040.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 720.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 120.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 24.0);
  q = GP_MULTIPLY_ADD(q, r, 1.0 / 6.0);
  q = GP_MULTIPLY_ADD(q, r, 0.5);
  return GP_MULTIPLY_ADD(r * r, q, r);
}

// x = n ln2 + r; returns r and 2^n. |n| < 1000.
GP_INLINE double reduce(double x, double& power) {
  const double shifted = GP_MULTIPLY_ADD(x, 1.4426950408889634, kMagic);
  const double n = shifted - kMagic;
  power = double_of((bits_of(shifted) + 1023) << 52);
  // n times the high part of ln2, which has 32 bits, is exact.
  return GP_MULTIPLY_ADD(-n, 1.90821492927058770002e-10,
                         GP_MULTIPLY_ADD(-n, 6.93147180369123816490e-01, x));
}

GP_INLINE double exp64(float argument) {
  // In binary32, where a register holds more; in this order NaN passes.
  float x = argument < -160.0f ? -160.0f : argument;
  x = x > 100.0f ? 100.0f : x;
  double power;
  const double r = reduce(x, power);
  return (1.0 + expm1_reduced(r)) * power;
}

GP_INLINE double tanh64(float argument) {
  float a = std::fabs(argument);
  a = a > 20.0f ? 20.0f : a;
  double power;
  const double r = reduce(static_cast<double>(a) + a, power);
  const double e = power * expm1_reduced(r) + (power - 1.0);
  return std::copysign(e / (e + 2.0), static_cast<double>(argument));
}

template <Function f>
GP_INLINE double evaluate(float x) {
  return f == kExp ? exp64(x) : tanh64(x);
}

// y[i] = f(x(i)) for i < count <= kChunk, correctly rounded.
template <Function f, typename Argument>
GP_INLINE void rounded(int count, Argument x, float* y) {
  int64_t any = 0;
  for (int i = 0; i < count; ++i) {
    const double value = evaluate<f>(x(i));
    y[i] = static_cast<float>(value);
    any |= is_near(value);
  }
  if (any)  // hardly ever
    for (int i = 0; i < count; ++i)
      if (is_near(evaluate<f>(x(i)))) y[i] = look_up(f, x(i), y[i]);
}

// The same over a whole row.
template <Function f, typename Argument>
GP_INLINE void rounded_row(int64_t n, Argument x, float* y) {
  for (int64_t start = 0; start < n; start += kChunk) {
    const int count = static_cast<int>(n - start < kChunk ? n - start : kChunk);
    rounded<f>(count, [&](int i) __attribute__((always_inline)) { return x(start + i); },
               y + start);
  }
}

inline float log_rounded(float x) {
  const double value = std::log(static_cast<double>(x));
  const float result = static_cast<float>(value);
  return is_near(value) ? look_up(kLog, x, result) : result;
}

}  // namespace gradproof
