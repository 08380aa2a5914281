#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "io/half.h"
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

/// fp32 numbers of every exponent and sign: bounds of the formats, ties, NaN, and by chance.
std::vector<float> ManyFloats() {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const uint32_t lower : {0x0000U, 0x0001U, 0x0FFFU, 0x1000U, 0x1001U, 0x7FFFU, 0x8000U,
                                 0x8001U, 0xEFFFU, 0xF000U, 0xF001U, 0xFFFFU})
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
  std::mt19937 random(2);
  for (int i = 0; i < 100'003; ++i)
    values.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  return values;
}

TEST(HalfTest, ManyAreConvertedAsOneIs) {
  const std::vector<float> values = ManyFloats();
  // At an odd address, and not only whole vectors of them.
  std::vector<unsigned char> bytes(1 + values.size() * sizeof(uint16_t));
  const auto narrowed = [&](size_t i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + 1 + i * sizeof(bits), sizeof(bits));
    return bits;
  };
  NarrowToF16(values, bytes.data() + 1);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(narrowed(i), F16FromF32(values[i])) << std::bit_cast<uint32_t>(values[i]);
  std::vector<float> wide(values.size());
  WidenF16(bytes.data() + 1, wide);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(F32FromF16(narrowed(i))))
        << narrowed(i);
  NarrowToBF16(values, bytes.data() + 1);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(narrowed(i), BF16FromF32(values[i])) << std::bit_cast<uint32_t>(values[i]);
  WidenBF16(bytes.data() + 1, wide);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(F32FromBF16(narrowed(i))))
        << narrowed(i);
}

TEST(HalfTest, TheFirstThatIsTooLargeIsFound) {
  const std::vector<float> values = ManyFloats();
  for (size_t i = 0; i < values.size(); ++i) {
    const std::span<const float> one(&values[i], 1);
    const bool is_finite = std::isfinite(values[i]);
    ASSERT_EQ(FirstTooLargeForF16(one),
              is_finite && std::isinf(F32FromF16(F16FromF32(values[i]))) ? 0U : 1U)
        << values[i];
    ASSERT_EQ(FirstTooLargeForBF16(one),
              is_finite && std::isinf(F32FromBF16(BF16FromF32(values[i]))) ? 0U : 1U)
        << values[i];
  }
  std::vector<float> few(100, 1.0F);
  few[3] = kInf;
  EXPECT_EQ(FirstTooLargeForF16(few), few.size());
  few[98] = few[67] = -70000.0F;
  EXPECT_EQ(FirstTooLargeForF16(few), 67U);
  EXPECT_EQ(FirstTooLargeForBF16(few), few.size());
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
