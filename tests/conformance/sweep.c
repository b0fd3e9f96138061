// One stretch of the independent sweep over binary32 inputs; `sweep.py` builds and calls it.
//
// The C library's binary64 result is believed to 2^-40 only, some 4000 times less than it is worth:
// where both ends of that interval round to one binary32 value, so does the true value between
// them. Everything else is listed as undecided and left to the caller's arbitrary precision.

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef double (*Function)(double);

// In the order of `functions.NAMES`.
static const Function kFunctions[] = {exp, log, tanh, erf, sin, cos, log1p, expm1};

static const double kDoubt = 0x1p-40;

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}

// The function's binary64 value, so that a test can measure its error.
double binary64(int function, double x) { return kFunctions[function](x); }

// Results for inputs first, first + step, ... (mod 2^32), `count` of them, NaN as 7fc00000.
// Returns how many are undecided; their positions are in `undecided`, which has room for all.
int64_t sweep(int function, uint32_t first, uint32_t step, int64_t count, uint32_t* results,
              uint32_t* undecided) {
  const Function f = kFunctions[function];
  int64_t open = 0;
  uint32_t input = first;
  for (int64_t i = 0; i < count; ++i, input += step) {
    float x;
    memcpy(&x, &input, 4);
    const double y = f((double)x);
    const double doubt = y * kDoubt;
    const uint32_t low = bits_of((float)(y - doubt)), high = bits_of((float)(y + doubt));
    if (y != y) {
      results[i] = 0x7fc00000;
    } else if (isinf(y)) {
      results[i] = bits_of((float)y);
    } else {
      results[i] = low;
      if (low != high) undecided[open++] = (uint32_t)i;
    }
  }
  return open;
}
