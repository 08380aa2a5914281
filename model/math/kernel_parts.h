// What kernels are made of: functions of one element, inlined into loops that are compiled for
// several instruction sets. Included by sources of kernels only.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "model/math/kernels.h"

// x86-64-v4 is AVX-512, v3 AVX2 with FMA. The loops are written for the compiler's vectorizer;
// `omp simd` says that iterations do not depend on each other and that sums may be reordered.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PUZZLE_EVERY_ISA \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PUZZLE_EVERY_ISA
#endif
#define PUZZLE_INLINE inline __attribute__((always_inline))

namespace puzzle {

// exp(x) to 2 ulp for x <= 88, exp(-87) below -87: x = n ln 2 + r, a polynomial in r (Cephes'
// expf), and n added to the exponent. Adding 1.5 * 2^23 rounds to an integer in the low bits.
PUZZLE_INLINE float Exp(float x) {
  x = x < -87.0F ? -87.0F : x;
  const float shifted = x * 1.44269504F + 12582912.0F;
  const float n = shifted - 12582912.0F;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  return p * std::bit_cast<float>((std::bit_cast<int32_t>(shifted) << 23) + 0x3F800000);
}

PUZZLE_INLINE float Sigmoid(float x) {
  return 1.0F / (1.0F + Exp(x < -88.0F ? 88.0F : -x));
}

PUZZLE_INLINE float Widen(float x) {
  return x;
}
PUZZLE_INLINE float Widen(Bf16Bits x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
}
PUZZLE_INLINE void Put(float x, float& out) {
  out = x;
}
// Rounds to nearest, ties to even; what arithmetic makes a NaN stays one.
PUZZLE_INLINE void Put(float x, Bf16Bits& out) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  out = static_cast<Bf16Bits>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// The keys [first, last) that a row sees.
struct Visible {
  int64_t first;
  int64_t last;
};
PUZZLE_INLINE Visible VisibleKeys(const CausalTile& tile, int64_t row) {
  const int64_t last = tile.keys - tile.positions + row / tile.group + 1;
  const int64_t first = tile.window > 0 && tile.window < last ? last - tile.window : 0;
  return {first, last};
}

template <class T>
PUZZLE_INLINE void ZeroHidden(T* row, const Visible& seen, int64_t keys) {
  std::fill(row, row + seen.first, T{0});
  std::fill(row + seen.last, row + keys, T{0});
}

}  // namespace puzzle
