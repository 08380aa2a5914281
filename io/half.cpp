// The two 16-bit floating-point formats, and one of 8 bits. fp32 is 1 sign, 8 exponent and 23
// mantissa bits; bf16 is its upper half; f16 has 5 exponent and 10 mantissa bits, e4m3 what its
// name says.
#include "io/half.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "io/safetensors.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define PUZZLE_F16C
#endif

namespace puzzle {
namespace {

constexpr uint32_t kSign = 0x8000'0000;
constexpr uint32_t kInfinity = 0x7F80'0000;
/// Of magnitudes, the least that rounds to infinity: halfway between the largest finite number and
/// the one that would follow it.
constexpr uint32_t kTooLargeForF16 = std::bit_cast<uint32_t>(65520.0f);
constexpr uint32_t kTooLargeForBF16 = 0x7F7F'8000;

/// By a mask: the compiler does not make branches of it, which no loop of vectors has.
inline int32_t Choose(bool condition, int32_t yes, int32_t no) {
  const int32_t mask = -static_cast<int32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

/// All candidates are computed, and one is taken. Numbers that are compared are signed: all vectors
/// have that.
inline uint16_t RoundedToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto magnitude = static_cast<int32_t>(bits & ~kSign);
  constexpr int32_t kRebias = (127 - 15) << 23;
  const int32_t normal = (magnitude - kRebias + 0xFFF + (magnitude >> 13 & 1)) >> 13;
  // Subnormal, a multiple of 2^-24: the spacing of fp32 just above 0.5, so the addition rounds.
  const int32_t small =
      std::bit_cast<int32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<int32_t>(0.5f);
  const int32_t quiet_nan = 0x7E00 | (magnitude >> 13 & 0x3FF);
  int32_t half = Choose(magnitude < std::bit_cast<int32_t>(0x1p-14f), small, normal);
  half = Choose(magnitude >= static_cast<int32_t>(kTooLargeForF16), 0x7C00, half);
  half = Choose(magnitude > static_cast<int32_t>(kInfinity), quiet_nan, half);
  return static_cast<uint16_t>((bits & kSign) >> 16 | static_cast<uint32_t>(half));
}

inline uint16_t RoundedToBF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t quiet_nan = bits >> 16 | 0x0040;
  const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  const bool is_nan = static_cast<int32_t>(bits & ~kSign) > static_cast<int32_t>(kInfinity);
  return static_cast<uint16_t>(is_nan ? quiet_nan : rounded);
}

inline float WidenedF16(uint16_t bits) {
  const auto magnitude = static_cast<int32_t>(bits & 0x7FFF);
  constexpr int32_t kRebias = (127 - 15) << 23;
  const int32_t normal = (magnitude << 13) + kRebias;
  const auto small = std::bit_cast<int32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  int32_t wide = Choose(magnitude < 0x0400, small, normal);
  wide = Choose(magnitude >= 0x7C00, normal + kRebias, wide);  // the exponent of all ones stays one
  return std::bit_cast<float>(uint32_t{bits & 0x8000u} << 16 | static_cast<uint32_t>(wide));
}

template <typename Narrow>
void NarrowAll(std::span<const float> values, void* out, Narrow narrow) {
  auto* to = static_cast<unsigned char*>(out);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = narrow(values[i]);
    std::memcpy(to + i * sizeof(bits), &bits, sizeof(bits));
  }
}

template <typename Widen>
void WidenAll(const void* values, std::span<float> out, Widen widen) {
  const auto* from = static_cast<const unsigned char*>(values);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, from + i * sizeof(bits), sizeof(bits));
    out[i] = widen(bits);
  }
}

#ifdef PUZZLE_F16C
bool HasF16C() {
  return __builtin_cpu_supports("avx") != 0 && __builtin_cpu_supports("f16c") != 0;
}

/// By the instruction for it, eight at a time: ten times as fast. It rounds in the same way and
/// keeps the same bits of NaN.
__attribute__((target("avx,f16c"))) void NarrowByF16C(std::span<const float> values, void* out) {
  constexpr size_t kWidth = 8;
  auto* to = static_cast<unsigned char*>(out);
  const size_t whole = values.size() / kWidth * kWidth;
  for (size_t i = 0; i < whole; i += kWidth) {
    const __m128i halves =
        _mm256_cvtps_ph(_mm256_loadu_ps(values.data() + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * sizeof(uint16_t)), halves);
  }
  NarrowAll(values.subspan(whole), to + whole * sizeof(uint16_t),
            [](float value) { return RoundedToF16(value); });
}
#endif

size_t FirstTooLarge(std::span<const float> values, uint32_t least) {
  const auto is_too_large = [least](float value) {
    const auto magnitude = static_cast<int32_t>(std::bit_cast<uint32_t>(value) & ~kSign);
    return magnitude >= static_cast<int32_t>(least) && magnitude < static_cast<int32_t>(kInfinity);
  };
  uint32_t found = 0;  // nearly always none: a loop of vectors, as in io/finite.h
  for (const float value : values) found |= is_too_large(value) ? 1U : 0U;
  if (found == 0) return values.size();
  return static_cast<size_t>(std::find_if(values.begin(), values.end(), is_too_large) -
                             values.begin());
}

}  // namespace

uint16_t BF16FromF32(float value) {
  return RoundedToBF16(value);
}

uint16_t F16FromF32(float value) {
  return RoundedToF16(value);
}

float F32FromF16(uint16_t bits) {
  return WidenedF16(bits);
}

void NarrowToF16(std::span<const float> values, void* out) {
#ifdef PUZZLE_F16C
  if (HasF16C()) return NarrowByF16C(values, out);
#endif
  NarrowAll(values, out, [](float value) { return RoundedToF16(value); });
}

void NarrowToBF16(std::span<const float> values, void* out) {
  NarrowAll(values, out, [](float value) { return RoundedToBF16(value); });
}

void WidenF16(const void* values, std::span<float> out) {
  WidenAll(values, out, [](uint16_t bits) { return WidenedF16(bits); });
}

void WidenBF16(const void* values, std::span<float> out) {
  WidenAll(values, out, [](uint16_t bits) { return F32FromBF16(bits); });
}

size_t FirstTooLargeForF16(std::span<const float> values) {
  return FirstTooLarge(values, kTooLargeForF16);
}

size_t FirstTooLargeForBF16(std::span<const float> values) {
  return FirstTooLarge(values, kTooLargeForBF16);
}

float F32FromE4M3(uint8_t bits) {
  const uint32_t sign = uint32_t{bits & 0x80u} << 24;
  const uint32_t exponent = bits >> 3 & 0xF;
  const uint32_t mantissa = bits & 0x7;
  if (exponent == 0xF && mantissa == 0x7) return std::bit_cast<float>(sign | 0x7FC0'0000);  // NaN
  if (exponent != 0)
    return std::bit_cast<float>(sign | (exponent + 127 - 7) << 23 | mantissa << 20);
  const auto magnitude = static_cast<float>(mantissa) * 0x1p-9f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

}  // namespace puzzle
