// Every instruction set that this CPU runs, against sums in double precision.
#include "model/decode/vector_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "io/random.h"
#include "model/decode/packed_matrix.h"
#include "model/decode/team.h"

namespace puzzle::decode {
namespace {

std::vector<float> Numbers(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& x : numbers) x = static_cast<float>(2 * random.Uniform() - 1);
  return numbers;
}

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
  const std::vector<float> weights = Numbers(kRows * kColumns, 1);
  Arena arena(PackedMatrix::Bytes(kRows, kColumns, GetParam()));
  PackedMatrix matrix(kRows, kColumns, GetParam(), arena);
  matrix.PackRows(0, kRows, weights.data());
  constexpr int64_t kTokens = 8, kStride = 160;
  TokenBuffer buffer(GetParam(), kTokens, kColumns);
  std::vector<std::vector<float>> tokens;
  for (int64_t t = 0; t < kTokens; ++t) {
    const std::vector<float> token = Numbers(kColumns, 10 + static_cast<uint64_t>(t));
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
                     kStride);
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
  const std::vector<float> weights = Numbers(kRows * kColumns, 3);
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
  const std::vector<float> weights = Numbers(kRows * kColumns, 5);
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

TEST(AttentionKernelsTest, EverySetScoresAndMixesAsDoublesDo) {
  constexpr int64_t kDim = 24, kPadded = 32, kCapacity = 160, kKeys = 151, kFirst = 16,
                    kQueries = 7;
  for (const bool bf16 : {false, true}) {
    Arena arena(size_t{kCapacity} * (kDim + kPadded) * 4 + 64);
    HeadCache cache{arena.Take(kCapacity * kDim * 4), arena.Take(kCapacity * kPadded * 4), kDim,
                    kPadded, bf16};
    const std::vector<float> keys = Numbers(kKeys * kDim, 1), values = Numbers(kKeys * kDim, 2);
    for (int64_t i = 0; i < kKeys; ++i)
      Remember(cache, i, keys.data() + i * kDim, values.data() + i * kDim);
    const WeightType type = bf16 ? WeightType::kBf16 : WeightType::kFp32;
    const std::vector<float> seen_keys = Seen(keys, type), seen_values = Seen(values, type);
    const std::vector<float> queries = Numbers(kQueries * kDim, 3);
    constexpr int64_t kSeen = kKeys - kFirst;
    const std::vector<float> weights = Numbers(kQueries * kSeen, 4);
    for (const VectorKernels& set : RunnableKernels()) {
      std::vector<float> scores(kQueries * kSeen + kKeyBlock), mixed(kQueries * kPadded);
      set.score(cache, queries.data(), kQueries, kFirst, kKeys, scores.data());
      set.mix(cache, weights.data(), kQueries, kFirst, kKeys, mixed.data());
      for (int64_t q = 0; q < kQueries; ++q) {
        std::vector<double> sums(kDim);
        for (int64_t i = 0; i < kSeen; ++i) {
          double score = 0;
          for (int64_t d = 0; d < kDim; ++d) {
            const auto at = static_cast<size_t>((kFirst + i) * kDim + d);
            score += double{queries[static_cast<size_t>(q * kDim + d)]} * seen_keys[at];
            sums[static_cast<size_t>(d)] +=
                double{weights[static_cast<size_t>(q * kSeen + i)]} * seen_values[at];
          }
          ASSERT_NEAR(scores[static_cast<size_t>(q * kSeen + i)], score, 1e-5)
              << set.name << ", query " << q << ", key " << i;
        }
        for (int64_t d = 0; d < kDim; ++d)
          ASSERT_NEAR(mixed[static_cast<size_t>(q * kPadded + d)], sums[static_cast<size_t>(d)],
                      2e-5)
              << set.name << ", query " << q << ", dimension " << d;
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
