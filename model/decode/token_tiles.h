// The loops over single tokens of panel_kernels.h, for one instruction set: included as
// panel_tiles.h is and behind it, whose vectors these are.

using HalfWords = uint16_t __attribute__((vector_size(32), aligned(2), may_alias));
using Bytes = int8_t __attribute__((vector_size(16), aligned(1), may_alias));

// The bits of bf16 numbers: to nearest, ties to even; what arithmetic makes a NaN stays one.
inline Words RoundedBits(const Words& x) {
  return (x + 0x7FFFU + (x >> 16 & 1U)) >> 16;
}

inline float LargestOf(const Floats& x) {
  float largest = x[0];
  for (int k = 1; k < kLanes; ++k) largest = largest < x[k] ? x[k] : largest;
  return largest;
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
    Floats numbers[kVectors], highest = {}, wrong = {};
    for (int64_t v = 0; v < kVectors; ++v) {
      numbers[v] = *reinterpret_cast<const Floats*>(from + v * kLanes);
      const Floats size = numbers[v] < 0.0F ? -numbers[v] : numbers[v];
      highest = highest < size ? size : highest;
      wrong += numbers[v] - numbers[v];  // 0, but of what is no finite number
    }
    const float largest = LargestOf(highest);
    const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
    Words sums = {};
    for (int64_t v = 0; v < kVectors; ++v) {
      const Words whole = (Words)(numbers[v] * inverse + kWhole) - std::bit_cast<uint32_t>(kWhole);
      sums += whole;
      *reinterpret_cast<Bytes*>(out + first + v * kLanes) =
          __builtin_convertvector((Ints)whole, Bytes);
    }
    uint32_t sum = 0;
    float poison = 0;
    for (int64_t k = 0; k < kLanes; ++k) {
      sum += sums[k];
      poison += wrong[k];
    }
    scales[first / kQuantBlock] = largest / 127.0F + poison;
    offsets[first / kQuantBlock] = static_cast<int32_t>(128 * sum);
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
