// Every instruction set that this CPU runs, against sums in double precision.
#include "model/decode/vector_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "io/random.h"
#include "model/decode/packed_matrix.h"
#include "model/decode/team.h"
#include "tests/model/some_numbers.h"

namespace puzzle::decode {
namespace {

// What a type makes of a token, as numbers again.
std::vector<float> Seen(const std::vector<float>& x, WeightType type) {
  const auto n = static_cast<int64_t>(x.size()), padded = PaddedTo(n, kQuantBlock);
  std::vector<float> seen = x;
  if (type == WeightType::kBf16) {
    std::vector<uint16_t> bits(x.size());
    RoundToken(x.data(), n, n, bits.data());
    for (size_t i = 0; i < x.size(); ++i)
      seen[i] = std::bit_cast<float>(static_cast<uint32_t>(bits[i]) << 16);
  } else if (type == WeightType::kInt8) {
    std::vector<int8_t> whole(static_cast<size_t>(padded));
    std::vector<float> scales(static_cast<size_t>(padded / kQuantBlock));
    std::vector<int32_t> offsets(scales.size());
    QuantizeToken(x.data(), n, padded, whole.data(), scales.data(), offsets.data());
    for (size_t i = 0; i < x.size(); ++i)
      seen[i] = static_cast<float>(whole[i]) * scales[i / kQuantBlock];
  }
  return seen;
}

class PanelKernelsTest : public testing::TestWithParam<WeightType> {};

// More columns than a block of them, rows that fill neither panels nor vectors, one to eight
// tokens.
TEST_P(PanelKernelsTest, EverySetMultipliesAsDoublesDo) {
  constexpr int64_t kRows = 150, kColumns = 1100;
  const std::vector<float> weights = SomeNumbers(kRows * kColumns, 1);
  Arena arena(PackedMatrix::Bytes(kRows, kColumns, GetParam()));
  PackedMatrix matrix(kRows, kColumns, GetParam(), arena);
  matrix.PackRows(0, kRows, weights.data());
  constexpr int64_t kTokens = 8, kStride = 160;
  TokenBuffer buffer(GetParam(), kTokens, kColumns);
  std::vector<std::vector<float>> tokens;
  for (int64_t t = 0; t < kTokens; ++t) {
    const std::vector<float> token = SomeNumbers(kColumns, 10 + static_cast<uint64_t>(t));
    buffer.Set(t, token.data(), kColumns);
    tokens.push_back(Seen(token, GetParam()));
  }
  std::vector<double> expected;
  std::vector<float> row(kColumns);
  for (int64_t r = 0; r < kRows; ++r) {
    matrix.Row(r, row.data());
    for (const std::vector<float>& token : tokens) {
      double sum = 0;
      for (size_t c = 0; c < token.size(); ++c) sum += double{row[c]} * token[c];
      expected.push_back(sum);
    }
  }
  for (const VectorKernels& set : RunnableKernels()) {
    for (int64_t count = 1; count <= kTokens; ++count) {
      std::vector<float> out(kTokens * kStride);
      // In two shares, as two threads would.
      for (const auto& [first, last] : {std::pair<int64_t, int64_t>{0, 48}, {48, kStride}})
        set.multiply(GetParam(), matrix.view(), buffer.View(count), first, last, out.data(),
                     kStride, nullptr);
      for (int64_t r = 0; r < kRows; ++r)
        for (int64_t t = 0; t < count; ++t)
          ASSERT_NEAR(out[static_cast<size_t>(t * kStride + r)],
                      expected[static_cast<size_t>(r * kTokens + t)], 2e-4)
              << set.name << ", row " << r << ", token " << t << " of " << count;
    }
  }
}

// A row comes back as near as its type can say it.
TEST_P(PanelKernelsTest, RowsComeBack) {
  constexpr int64_t kRows = 70, kColumns = 37;
  const std::vector<float> weights = SomeNumbers(kRows * kColumns, 3);
  Arena arena(PackedMatrix::Bytes(kRows, kColumns, GetParam()));
  PackedMatrix matrix(kRows, kColumns, GetParam(), arena);
  matrix.PackRows(0, kRows, weights.data());
  const double error = GetParam() == WeightType::kFp32   ? 0
                       : GetParam() == WeightType::kBf16 ? 1.0 / 256
                                                         : 0.5 / 127 + 1e-6;
  std::vector<float> row(kColumns);
  for (int64_t r = 0; r < kRows; ++r) {
    matrix.Row(r, row.data());
    for (int64_t c = 0; c < kColumns; ++c)
      EXPECT_NEAR(row[static_cast<size_t>(c)], weights[static_cast<size_t>(r * kColumns + c)],
                  error);
  }
}

// The bits of row r, column c in memory, from what panel_kernels.h says of the layout.
uint32_t BitsAt(const PanelMatrix& matrix, WeightType type, int64_t r, int64_t c) {
  const int64_t group = type == WeightType::kFp32 ? 1 : type == WeightType::kBf16 ? 2 : 4;
  const int64_t panel = r / kPanelRows, size = 4 / group;
  const int64_t width = std::min(kPanelRows, matrix.rows - panel * kPanelRows);
  const int64_t number =
      kPanelRows * panel * matrix.depth + (c / group * width + r % kPanelRows) * group + c % group;
  uint32_t bits = 0;
  std::memcpy(&bits, static_cast<const char*>(matrix.data) + number * size,
              static_cast<size_t>(size));
  return bits;
}

uint32_t ExpectedBits(float x, float highest, WeightType type) {
  if (type == WeightType::kFp32) return std::bit_cast<uint32_t>(x);
  if (type == WeightType::kInt8)
    return static_cast<uint32_t>(128 + std::lrint(x * (127.0F / highest)));
  uint16_t bits = 0;
  RoundToken(&x, 1, 1, &bits);
  return bits;
}

// However rows were cut when they were packed; what lies behind them is zero.
TEST_P(PanelKernelsTest, EveryNumberLiesWhereItsPanelSays) {
  constexpr int64_t kRows = 150, kColumns = 37;
  const std::vector<float> weights = SomeNumbers(kRows * kColumns, 5);
  Arena arena(PackedMatrix::Bytes(kRows, kColumns, GetParam()));
  PackedMatrix matrix(kRows, kColumns, GetParam(), arena);
  int64_t first = 0;
  for (const int64_t count : {1, 62, 3, 16, 47, 21}) {
    matrix.PackRows(first, count, weights.data() + first * kColumns);
    first += count;
  }
  ASSERT_EQ(first, kRows);
  const PanelMatrix& view = matrix.view();
  const bool is_int8 = GetParam() == WeightType::kInt8;
  for (int64_t r = 0; r < view.rows; ++r) {
    std::vector<float> row(static_cast<size_t>(view.depth));
    if (r < kRows) std::copy_n(weights.data() + r * kColumns, kColumns, row.data());
    float highest = 0;
    for (const float x : row) highest = std::max(highest, std::abs(x));
    if (is_int8) {
      EXPECT_EQ(view.row_scales[r], highest / 127.0F);
    }
    for (int64_t c = 0; c < view.depth; ++c)
      ASSERT_EQ(BitsAt(view, GetParam(), r, c),
                ExpectedBits(row[static_cast<size_t>(c)], highest > 0 ? highest : 1, GetParam()))
          << r << ", " << c;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, PanelKernelsTest,
                         testing::Values(WeightType::kFp32, WeightType::kBf16, WeightType::kInt8));

// What is read next is memory that caches are asked for, and nothing else: it need not even exist.
TEST_P(PanelKernelsTest, WhatIsReadNextChangesNothing) {
  constexpr int64_t kRows = 150, kColumns = 1100, kTokens = 20, kStride = 160;
  const std::vector<float> weights = SomeNumbers(kRows * kColumns, 1);
  Arena arena(PackedMatrix::Bytes(kRows, kColumns, GetParam()));
  PackedMatrix matrix(kRows, kColumns, GetParam(), arena);
  matrix.PackRows(0, kRows, weights.data());
  TokenBuffer buffer(GetParam(), kTokens, kColumns);
  for (int64_t t = 0; t < kTokens; ++t)
    buffer.Set(t, SomeNumbers(kColumns, 10 + static_cast<uint64_t>(t)).data(), kColumns);
  for (const VectorKernels& set : RunnableKernels()) {
    for (const int64_t count : {int64_t{1}, int64_t{9}, kTokens}) {
      std::vector<float> expected(kTokens * kStride), out = expected;
      set.multiply(GetParam(), matrix.view(), buffer.View(count), 0, kStride, expected.data(),
                   kStride, nullptr);
      const void* const nowhere = reinterpret_cast<const void*>(uintptr_t{64});
      set.multiply(GetParam(), matrix.view(), buffer.View(count), 0, kStride, out.data(), kStride,
                   nowhere);
      EXPECT_EQ(out, expected) << set.name;
    }
  }
}

TEST(TokenKernelsTest, EverySetRoundsToNearestAndTiesToEven) {
  std::vector<float> x = SomeNumbers(75, 6);
  x[3] = std::bit_cast<float>(0x3F808000U);  // halfway, below is even
  x[4] = std::bit_cast<float>(0x3F818000U);  // halfway, above is even
  x[74] = std::bit_cast<float>(0x3F808001U);
  for (const VectorKernels& set : RunnableKernels()) {
    std::vector<uint16_t> bits(80, 7);
    set.round(x.data(), 75, 80, bits.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const float rounded = std::bit_cast<float>(static_cast<uint32_t>(bits[i]) << 16);
      EXPECT_LE(std::abs(rounded - x[i]), std::abs(x[i]) / 256) << set.name << ", " << i;
    }
    EXPECT_EQ(bits[3], 0x3F80) << set.name;
    EXPECT_EQ(bits[4], 0x3F82) << set.name;
    EXPECT_EQ(bits[74], 0x3F81) << set.name;
    EXPECT_TRUE(std::all_of(bits.begin() + 75, bits.end(), [](uint16_t b) { return b == 0; }));
  }
}

TEST(TokenKernelsTest, EverySetQuantizesToTheNearestWholeNumber) {
  constexpr int64_t kCount = 150, kPadded = 192;
  std::vector<float> x = SomeNumbers(kCount, 8);
  std::fill(x.begin() + 64, x.begin() + 128, 0.0F);  // a block of nothing
  x[130] = -3;
  for (const VectorKernels& set : RunnableKernels()) {
    std::vector<int8_t> whole(kPadded, 7);
    std::vector<float> scales(kPadded / kQuantBlock);
    std::vector<int32_t> offsets(scales.size());
    set.quantize(x.data(), kCount, kPadded, whole.data(), scales.data(), offsets.data());
    for (size_t block = 0; block < scales.size(); ++block) {
      float highest = 0;
      int32_t sum = 0;
      for (size_t i = 64 * block; i < 64 * (block + 1); ++i) {
        const float own = i < x.size() ? x[i] : 0.0F;
        highest = std::max(highest, std::abs(own));
        sum += whole[i];
        EXPECT_LE(std::abs(static_cast<float>(whole[i]) * scales[block] - own),
                  0.5001F * scales[block])
            << set.name << ", " << i;
      }
      EXPECT_EQ(scales[block], highest / 127.0F) << set.name;
      EXPECT_EQ(offsets[block], 128 * sum) << set.name;
    }
    EXPECT_EQ(whole[130], -127) << set.name;
  }
}

// A token that is no number must not become a token of zeros.
TEST(TokenKernelsTest, WhatIsNoNumberStaysNone) {
  for (const float odd :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {size_t{5}, size_t{79}}) {
      std::vector<float> x = SomeNumbers(80, 9);
      x[at] = odd;
      for (const VectorKernels& set : RunnableKernels()) {
        std::vector<int8_t> whole(128);
        std::vector<float> scales(2);
        std::vector<int32_t> offsets(2);
        set.quantize(x.data(), 80, 128, whole.data(), scales.data(), offsets.data());
        EXPECT_FALSE(std::isfinite(scales[at / 64])) << set.name;
        EXPECT_TRUE(std::isfinite(scales[1 - at / 64])) << set.name;
      }
    }
  }
}

TEST(TokenKernelsTest, EverySetFindsTheHighestAndWhatIsNoNumber) {
  for (const VectorKernels& set : RunnableKernels()) {
    for (const int64_t count : {1, 15, 16, 17, 100}) {
      for (int64_t at = 0; at < count; ++at) {
        std::vector<float> x = SomeNumbers(count, 11);
        x[static_cast<size_t>(at)] = 2;
        const Peak peak = set.highest(x.data(), count);
        EXPECT_EQ(peak.highest, 2) << set.name;
        EXPECT_TRUE(peak.numbers) << set.name;
        x[static_cast<size_t>(at)] = std::numeric_limits<float>::quiet_NaN();
        EXPECT_FALSE(set.highest(x.data(), count).numbers) << set.name << ", " << at;
      }
    }
    EXPECT_EQ(set.highest(nullptr, 0).highest, -std::numeric_limits<float>::infinity());
  }
}

// Weights of a row that sees a part of its scores, to a few ulp of exp; what lies outside is 0.
TEST(AttentionKernelsTest, EverySetSoftensAsDoublesDo) {
  constexpr int64_t kEnd = 96;
  const std::vector<float> scores = SomeNumbers(kEnd, 12);
  for (const VectorKernels& set : RunnableKernels()) {
    for (const auto& [first, last] :
         {std::pair<int64_t, int64_t>{0, 96}, {0, 1}, {17, 83}, {95, 96}, {40, 40}, {0, -3}}) {
      for (const bool rounded : {false, true}) {
        std::vector<float> row = scores;
        const Softened softened = set.soften(
            {.row = row.data(), .first = first, .last = last, .end = kEnd}, 3.0F, rounded);
        double highest = -std::numeric_limits<double>::infinity(), sum = 0;
        for (int64_t i = first; i < last; ++i)
          highest = std::max(highest, 3.0 * scores[static_cast<size_t>(i)]);
        for (int64_t i = 0; i < kEnd; ++i) {
          const auto at = static_cast<size_t>(i);
          const double weight = first <= i && i < last ? std::exp(3.0 * scores[at] - highest) : 0.0;
          EXPECT_NEAR(row[at], weight, weight * (rounded ? 1.0 / 250 : 1e-6)) << set.name;
          if (rounded) {
            EXPECT_EQ(std::bit_cast<uint32_t>(row[at]) & 0xFFFFU, 0U) << set.name;
          }
          sum += row[at];
        }
        EXPECT_NEAR(softened.sum, sum, 1e-5) << set.name;
        if (first < last) {
          EXPECT_NEAR(softened.shift, highest, 1e-6) << set.name;
        } else {
          EXPECT_EQ(softened.shift, -std::numeric_limits<float>::infinity()) << set.name;
        }
      }
    }
  }
}

TEST(SumWordsTest, EverySetCountsEveryWord) {
  std::vector<uint64_t> words(1003);
  uint64_t sum = 0;
  Random random(5);
  for (uint64_t& word : words) sum += word = random.Next();
  for (const VectorKernels& set : RunnableKernels())
    EXPECT_EQ(set.sum(words.data(), std::ssize(words)), sum) << set.name;
}

// Work is handed out and waited for, whoever is late.
TEST(TeamTest, EveryMemberWorksAndNobodyPassesABarrierAlone) {
  Team team(3);
  std::vector<int> written(3);
  std::vector<int> sums(3);
  for (int round = 1; round <= 2000; ++round) {
    team.Run([&](int member) {
      written[static_cast<size_t>(member)] = round * (member + 1);
      team.Barrier();
      sums[static_cast<size_t>(member)] = written[0] + written[1] + written[2];
      team.Barrier();
    });
    for (const int sum : sums) ASSERT_EQ(sum, 6 * round);
  }
}

}  // namespace
}  // namespace puzzle::decode
