#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "io/safetensors.h"

namespace puzzle {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

/// f16 by the definition of the format, independent of bit tricks.
double F16ByDefinition(uint16_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = bits >> 10 & 0x1F;
  const int mantissa = bits & 0x3FF;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

/// The nearest of all finite values of a 16-bit format, ties to the even one; by search.
template <typename Widen>
uint16_t NearestEven(double value, uint16_t largest, Widen widen) {
  uint16_t low = 0, high = largest;  // magnitudes grow with their bits
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (widen(middle) <= std::fabs(value) ? low : high) = middle;
  }
  const double below = std::fabs(value) - widen(low), above = widen(high) - std::fabs(value);
  const uint16_t nearest = below < above || (below == above && low % 2 == 0) ? low : high;
  return std::signbit(value) ? nearest | 0x8000 : nearest;
}

TEST(HalfTest, EveryF16ValueWidensExactlyAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = F32FromF16(half);
    if ((bits & 0x7C00) == 0x7C00) {
      EXPECT_EQ(std::isnan(value), (bits & 0x3FF) != 0) << bits;
      EXPECT_EQ(std::isnan(F32FromF16(F16FromF32(value))), std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(value, F16ByDefinition(half)) << bits;
      ASSERT_EQ(F16FromF32(value), half) << bits;
    }
  }
}

TEST(HalfTest, EveryBF16ValueComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = F32FromBF16(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(F32FromBF16(BF16FromF32(value)))) << bits;
    } else {
      ASSERT_EQ(BF16FromF32(value), half) << bits;
    }
  }
}

TEST(HalfTest, NarrowingRoundsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    if (std::fabs(value) < 65504) {
      ASSERT_EQ(F16FromF32(value), NearestEven(value, 0x7BFF, F16ByDefinition)) << value;
    }
    if (std::fabs(value) < F32FromBF16(0x7F7F)) {
      ASSERT_EQ(BF16FromF32(value), NearestEven(value, 0x7F7F, F32FromBF16)) << value;
    }
    const float small = std::ldexp(value / (std::fabs(value) + 1), static_cast<int>(i % 30) - 27);
    ASSERT_EQ(F16FromF32(small), NearestEven(small, 0x7BFF, F16ByDefinition)) << small;
  }
}

TEST(HalfTest, TiesGoToEven) {
  EXPECT_EQ(F16FromF32(1 + 0x1p-11f), 0x3C00);
  EXPECT_EQ(F16FromF32(1 + 3 * 0x1p-11f), 0x3C02);
  EXPECT_EQ(F16FromF32(0x1p-25f), 0x0000);
  EXPECT_EQ(F16FromF32(3 * 0x1p-25f), 0x0002);
  EXPECT_EQ(BF16FromF32(1 + 0x1p-8f), 0x3F80);
  EXPECT_EQ(BF16FromF32(1 + 3 * 0x1p-8f), 0x3F82);
}

TEST(HalfTest, TooLargeBecomesInfinity) {
  EXPECT_EQ(F16FromF32(65519.0f), 0x7BFF);
  EXPECT_EQ(F16FromF32(65520.0f), 0x7C00);
  EXPECT_EQ(F16FromF32(-1e30f), 0xFC00);
  EXPECT_EQ(F16FromF32(kInf), 0x7C00);
  EXPECT_EQ(BF16FromF32(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(BF16FromF32(-kInf), 0xFF80);
}

TEST(HalfTest, NanStaysNanWithItsSign) {
  for (const uint32_t bits : {0x7F800001u, 0x7FFFFFFFu, 0xFF800001u, 0xFFFFFFFFu, 0x7FC00000u}) {
    const auto nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(F32FromBF16(BF16FromF32(nan))));
    EXPECT_TRUE(std::isnan(F32FromF16(F16FromF32(nan))));
    EXPECT_EQ(BF16FromF32(nan) >> 15, bits >> 31);
    EXPECT_EQ(F16FromF32(nan) >> 15, bits >> 31);
  }
}

}  // namespace
}  // namespace puzzle
