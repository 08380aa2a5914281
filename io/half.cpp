// The two 16-bit floating-point formats, and one of 8 bits. fp32 is 1 sign, 8 exponent and 23
// mantissa bits; bf16 is its upper half; f16 has 5 exponent and 10 mantissa bits, e4m3 what its
// name says.
#include <bit>
#include <cstdint>

#include "io/safetensors.h"

namespace puzzle {
namespace {

constexpr uint32_t kSign = 0x8000'0000;
constexpr uint32_t kInfinity = 0x7F80'0000;

}  // namespace

uint16_t BF16FromF32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & ~kSign) > kInfinity) return static_cast<uint16_t>(bits >> 16 | 0x0040);  // quiet NaN
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

uint16_t F16FromF32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits & kSign) >> 16;
  const uint32_t magnitude = bits & ~kSign;
  uint32_t half = 0;
  if (magnitude > kInfinity) {
    half = 0x7E00 | (magnitude >> 13 & 0x3FF);  // quiet NaN
  } else if (magnitude >= std::bit_cast<uint32_t>(65520.0f)) {
    half = 0x7C00;  // halfway between the largest f16, 65504, and the next
  } else if (magnitude < std::bit_cast<uint32_t>(0x1p-14f)) {
    // Subnormal, a multiple of 2^-24: the spacing of fp32 just above 0.5, so the addition rounds.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
           std::bit_cast<uint32_t>(0.5f);
  } else {
    constexpr uint32_t kRebias = (127 - 15) << 23;
    half = (magnitude - kRebias + 0xFFF + (magnitude >> 13 & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

float F32FromF16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = bits >> 10 & 0x1F;
  const uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | kInfinity | mantissa << 13);
  if (exponent != 0) {
    return std::bit_cast<float>(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
  }
  const auto magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
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
