// The two 16-bit floating-point formats, and one of 8 bits. fp32 is 1 sign, 8 exponent and 23
// mantissa bits; bf16 is its upper half; f16 has 5 exponent and 10 mantissa bits, e4m3 what its
// name says.
#include "io/half.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "io/safetensors.h"

namespace puzzle {
namespace {

constexpr uint32_t kSign = 0x8000'0000;
constexpr uint32_t kInfinity = 0x7F80'0000;
/// Of magnitudes, the least that rounds to infinity: halfway between the largest finite number and
/// the one that would follow it.
constexpr uint32_t kTooLargeForF16 = std::bit_cast<uint32_t>(65520.0f);
constexpr uint32_t kTooLargeForBF16 = 0x7F7F'8000;

/// Without branches, and with comparisons of signed numbers, which all vectors have: all candidates
/// are computed, and one is taken.
inline uint16_t RoundedToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto magnitude = static_cast<int32_t>(bits & ~kSign);
  constexpr int32_t kRebias = (127 - 15) << 23;
  const int32_t normal = (magnitude - kRebias + 0xFFF + (magnitude >> 13 & 1)) >> 13;
  // Subnormal, a multiple of 2^-24: the spacing of fp32 just above 0.5, so the addition rounds.
  const int32_t small =
      std::bit_cast<int32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<int32_t>(0.5f);
  const int32_t quiet_nan = 0x7E00 | (magnitude >> 13 & 0x3FF);
  int32_t half = magnitude < std::bit_cast<int32_t>(0x1p-14f) ? small : normal;
  half = magnitude >= static_cast<int32_t>(kTooLargeForF16) ? 0x7C00 : half;
  half = magnitude > static_cast<int32_t>(kInfinity) ? quiet_nan : half;
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
  int32_t wide = magnitude < 0x0400 ? small : normal;
  wide = magnitude >= 0x7C00 ? normal + kRebias : wide;  // the exponent of all ones stays one
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
