// The loops over single tokens of panel_kernels.h, for one instruction set: included as
// panel_tiles.h is and behind it, whose vectors these are.

using HalfWords = uint16_t __attribute__((vector_size(32), aligned(2), may_alias));
using Bytes = int8_t __attribute__((vector_size(16), aligned(1), may_alias));

// The bits of bf16 numbers: to nearest, ties to even; what arithmetic makes a NaN stays one.
inline Words RoundedBits(const Words& x) {
  return (x + 0x7FFFU + (x >> 16 & 1U)) >> 16;
}

// All numbers of a vector as one: halves, quarters and so on are put together by `both`.
template <class V, class Both>
V Folded(V x, const Both& both) {
  x = both(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  x = both(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  x = both(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  return both(x,
              __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
}

inline float LargestOf(const Floats& x) {
  return Folded(x, [](const Floats& a, const Floats& b) { return a < b ? b : a; })[0];
}

inline void Round(const float* x, int64_t n, int64_t padded, uint16_t* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    *reinterpret_cast<HalfWords*>(out + i) =
        __builtin_convertvector(RoundedBits(*reinterpret_cast<const Words*>(x + i)), HalfWords);
  for (; i < n; ++i) out[i] = Bf16Of(x[i]);
  std::fill(out + n, out + padded, uint16_t{0});
}

inline void Quantize(const float* x, int64_t n, int64_t padded, int8_t* out, float* scales,
                     int32_t* offsets) {
  // Added to a number of at most 2^22, it leaves the nearest whole one in the low bits.
  constexpr float kWhole = 12582912.0F;  // 1.5 * 2^23
  constexpr int64_t kVectors = kQuantBlock / kLanes;
  for (int64_t first = 0; first < padded; first += kQuantBlock) {
    float block[kQuantBlock] = {};
    const float* from = x + first;
    if (first + kQuantBlock > n) {
      std::copy(from, x + std::max(first, n), block);
      from = block;
    }
    // Sizes are compared as whole numbers: their bits have the same order, and NaN is the highest.
    Floats numbers[kVectors];
    Ints highest = {};
    for (int64_t v = 0; v < kVectors; ++v) {
      numbers[v] = *reinterpret_cast<const Floats*>(from + v * kLanes);
      const Ints size = (Ints)numbers[v] & 0x7FFFFFFF;
      highest = highest < size ? size : highest;
    }
    highest = Folded(highest, [](const Ints& a, const Ints& b) { return a < b ? b : a; });
    const auto largest = std::bit_cast<float>(int32_t{highest[0]});
    const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
    Ints sums = {};
    for (int64_t v = 0; v < kVectors; ++v) {
      const Ints whole = (Ints)(numbers[v] * inverse + kWhole) - std::bit_cast<int32_t>(kWhole);
      *reinterpret_cast<Bytes*>(out + first + v * kLanes) = __builtin_convertvector(whole, Bytes);
      sums += whole << 24 >> 24;  // as they are stored, whatever they were
    }
    sums = Folded(sums, [](const Ints& a, const Ints& b) { return a + b; });
    scales[first / kQuantBlock] = largest / 127.0F;
    offsets[first / kQuantBlock] = 128 * sums[0];
  }
}

inline Peak Highest(const float* x, int64_t n) {
  Peak peak;
  Floats highest = Floats{} + peak.highest;
  Ints odd = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Floats own = *reinterpret_cast<const Floats*>(x + i);
    highest = highest < own ? own : highest;
    odd |= own != own;
  }
  peak.highest = LargestOf(highest);
  for (int64_t k = 0; k < kLanes; ++k) peak.numbers = peak.numbers && odd[k] == 0;
  for (; i < n; ++i) {
    peak.highest = peak.highest < x[i] ? x[i] : peak.highest;
    peak.numbers = peak.numbers && !std::isnan(x[i]);
  }
  return peak;
}
