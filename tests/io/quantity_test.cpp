#include "io/quantity.h"

#include <gtest/gtest.h>

namespace puzzle {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;

TEST(QuantityTest, SizesAreRead) {
  EXPECT_EQ(ParseSize("20G"), 20 * kGib);
  EXPECT_EQ(ParseSize("1.5KiB"), 1536u);
  EXPECT_EQ(ParseSize("7"), 7u);
  EXPECT_EQ(ParseSize("7B"), 7u);
  EXPECT_EQ(ParseSize("0"), 0u);
  EXPECT_EQ(ParseSize("3MB"), uint64_t{3} << 20);
  EXPECT_EQ(ParseSize("2T"), 2048 * kGib);
  for (const char* bad :
       {"", "G", "-1G", "1X", "1GG", "1 G", "1Bi", "nan", "inf", "1e400", "1e3", "99999999T"}) {
    EXPECT_EQ(ParseSize(bad), std::nullopt) << bad;
  }
}

TEST(QuantityTest, SpansAreRead) {
  EXPECT_EQ(ParseSpan("0s"), 0);
  EXPECT_EQ(ParseSpan("7s"), 7);
  EXPECT_EQ(ParseSpan("2m"), 120);
  EXPECT_EQ(ParseSpan("1.5h"), 5400);
  EXPECT_EQ(ParseSpan("30d"), 30 * 86400.0);
  EXPECT_EQ(ParseSpan("2w"), 14 * 86400.0);
  for (const char* bad : {"", "30", "d", "-1d", "1y", "1dd", "nand"}) {
    EXPECT_EQ(ParseSpan(bad), std::nullopt) << bad;
  }
}

TEST(QuantityTest, SizesAreWrittenWithOneDigitOfAUnit) {
  EXPECT_EQ(SizeText(0), "0 bytes");
  EXPECT_EQ(SizeText(1), "1 byte");
  EXPECT_EQ(SizeText(1023), "1023 bytes");
  EXPECT_EQ(SizeText(1024), "1.0 KiB");
  EXPECT_EQ(SizeText(1536), "1.5 KiB");
  EXPECT_EQ(SizeText((1 << 20) - 1), "1.0 MiB");  // not "1024.0 KiB"
  EXPECT_EQ(SizeText(1023 << 10), "1023.0 KiB");
  EXPECT_EQ(SizeText(20 * kGib), "20.0 GiB");
  EXPECT_EQ(SizeText(UINT64_MAX), "16.0 EiB");
}

TEST(QuantityTest, DurationsAreWrittenAsPeopleSayThem) {
  EXPECT_EQ(DurationText(-1), "0.0s");
  EXPECT_EQ(DurationText(0.04), "0.0s");
  EXPECT_EQ(DurationText(4.25), "4.2s");
  EXPECT_EQ(DurationText(9.96), "10s");
  EXPECT_EQ(DurationText(41.2), "41s");
  EXPECT_EQ(DurationText(59.6), "1m00s");
  EXPECT_EQ(DurationText(842), "14m02s");
  EXPECT_EQ(DurationText(3599.6), "1h00m");
  EXPECT_EQ(DurationText(11520), "3h12m");
}

TEST(QuantityTest, AgesAreRoundedDown) {
  EXPECT_EQ(AgeText(59.9), "just now");
  EXPECT_EQ(AgeText(60), "1m");
  EXPECT_EQ(AgeText(3599), "59m");
  EXPECT_EQ(AgeText(3600), "1h");
  EXPECT_EQ(AgeText(2 * 86400 - 1), "47h");
  EXPECT_EQ(AgeText(2 * 86400), "2d");
}

}  // namespace
}  // namespace puzzle
