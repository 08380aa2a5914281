// Attention to a cache, segment by segment, against softmax in double precision.
#include "model/decode/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/model/some_numbers.h"

namespace puzzle::decode {
namespace {

struct AttentionCase {
  int64_t head_dim;
  int64_t group;
  int64_t first;  // position of the first query
  int64_t positions = 1;
  int64_t window = 0;
  float cap = 0;
  bool bf16 = false;
};

// A sequence that has as many keys as the last query sees.
class Remembered {
 public:
  explicit Remembered(const AttentionCase& own)
      : own_(own),
        length_(own.first + own.positions),
        keys_(SomeNumbers(length_ * own.head_dim, 1)),
        values_(SomeNumbers(length_ * own.head_dim, 2)),
        queries_(SomeNumbers(own.positions * own.group * own.head_dim, 3)),
        cache_{
            .head_dim = own.head_dim, .capacity = PaddedTo(length_ + 30, kLanes), .bf16 = own.bf16},
        arena_(static_cast<size_t>(cache_.Bytes())) {
    cache_.keys = static_cast<char*>(arena_.Take(static_cast<size_t>(cache_.Bytes())));
    cache_.values = cache_.keys + cache_.KeyBytes();
    for (int64_t i = 0; i < length_; ++i)
      Remember(cache_, i, keys_.data() + i * own.head_dim, values_.data() + i * own.head_dim);
  }

  // [positions * group, padded_dim], those of `count` positions from `skip` on.
  std::vector<float> Attended(int64_t skip, int64_t count) const {
    const int64_t rows = count * own_.group;
    TokenBuffer tokens(cache_.type(), rows, own_.head_dim);
    for (int64_t q = 0; q < rows; ++q)
      tokens.Set(q, queries_.data() + (skip * own_.group + q) * own_.head_dim, own_.head_dim);
    const Queries queries{.tokens = tokens.View(rows),
                          .first = own_.first + skip,
                          .positions = count,
                          .group = own_.group,
                          .window = own_.window,
                          .scale = kScale,
                          .cap = own_.cap};
    AttentionRoom room(cache_.type(), rows);
    std::vector<float> all_numbers(
        static_cast<size_t>(Mixture::Numbers(rows, cache_.padded_dim())));
    std::vector<float> part_numbers = all_numbers;
    const Mixture all(all_numbers.data(), rows, cache_.padded_dim());
    const Mixture part(part_numbers.data(), rows, cache_.padded_dim());
    all.Clear();
    for (int64_t s = queries.first_segment(); s < queries.last_segment(); ++s) {
      AttendSegment(cache_, queries, s, nullptr, room, part);
      all.Add(part);
    }
    std::vector<float> result;
    for (int64_t q = 0; q < rows; ++q)
      for (int64_t d = 0; d < own_.head_dim; ++d)
        result.push_back(all.mixed[q * all.padded_dim + d] / all.sum[q]);
    return result;
  }

  // The same in double precision, of what the cache remembers.
  std::vector<double> Expected() const {
    std::vector<double> result;
    for (int64_t q = 0; q < own_.positions * own_.group; ++q) {
      const int64_t position = own_.first + q / own_.group;
      const int64_t seen = own_.window > 0 ? std::max<int64_t>(0, position + 1 - own_.window) : 0;
      std::vector<double> weights;
      for (int64_t i = seen; i <= position; ++i) weights.push_back(std::exp(Score(q, i)));
      double sum = 0;
      for (const double weight : weights) sum += weight;
      for (int64_t d = 0; d < own_.head_dim; ++d) {
        double mixed = 0;
        for (int64_t i = seen; i <= position; ++i)
          mixed += weights[static_cast<size_t>(i - seen)] * Seen(values_, i * own_.head_dim + d);
        result.push_back(mixed / sum);
      }
    }
    return result;
  }

 private:
  static constexpr float kScale = 0.8F;

  double Seen(const std::vector<float>& numbers, int64_t i) const {
    const float x = numbers[static_cast<size_t>(i)];
    if (!own_.bf16) return x;
    uint16_t bits = 0;
    RoundToken(&x, 1, 1, &bits);
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }

  double Score(int64_t query, int64_t key) const {
    double product = 0;
    for (int64_t d = 0; d < own_.head_dim; ++d)
      product += Seen(queries_, query * own_.head_dim + d) * Seen(keys_, key * own_.head_dim + d);
    const double score = kScale * product;
    return own_.cap > 0 ? own_.cap * std::tanh(score / own_.cap) : score;
  }

  AttentionCase own_;
  int64_t length_;
  std::vector<float> keys_, values_, queries_;
  HeadCache cache_;
  Arena arena_;
};

class DecodeAttentionTest : public testing::TestWithParam<AttentionCase> {};

// Weights in bf16 are off by up to 1 / 512 of themselves, and their values by as much of 1.
TEST_P(DecodeAttentionTest, IsSoftmaxOfDoubles) {
  const AttentionCase& own = GetParam();
  const Remembered remembered(own);
  const std::vector<float> attended = remembered.Attended(0, own.positions);
  const std::vector<double> expected = remembered.Expected();
  ASSERT_EQ(attended.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(attended[i], expected[i], own.bf16 ? 2e-3 : 1e-5) << i;
}

// Bit for bit.
TEST_P(DecodeAttentionTest, DoesNotDependOnTheQueriesBeside) {
  const AttentionCase& own = GetParam();
  const Remembered remembered(own);
  const std::vector<float> together = remembered.Attended(0, own.positions);
  std::vector<float> one_by_one;
  for (int64_t i = 0; i < own.positions; ++i) {
    const std::vector<float> alone = remembered.Attended(i, 1);
    one_by_one.insert(one_by_one.end(), alone.begin(), alone.end());
  }
  EXPECT_EQ(together, one_by_one);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, DecodeAttentionTest,
    testing::Values(
        AttentionCase{.head_dim = 64, .group = 3, .first = 0},
        AttentionCase{.head_dim = 64, .group = 3, .first = 600},
        AttentionCase{.head_dim = 64, .group = 9, .first = 255, .bf16 = true},
        AttentionCase{.head_dim = 24, .group = 1, .first = 510, .positions = 4},
        AttentionCase{.head_dim = 24, .group = 2, .first = 254, .positions = 4, .bf16 = true},
        AttentionCase{.head_dim = 128, .group = 2, .first = 300, .bf16 = true},
        AttentionCase{.head_dim = 80, .group = 1, .first = 300, .positions = 2, .cap = 2},
        AttentionCase{.head_dim = 15, .group = 1, .first = 40, .bf16 = true},
        AttentionCase{
            .head_dim = 16, .group = 2, .first = 20, .positions = 4, .window = 6, .bf16 = true},
        // The window of the second begins at a segment; the first sees one key more.
        AttentionCase{.head_dim = 16, .group = 2, .first = 515, .positions = 4, .window = 261},
        AttentionCase{.head_dim = 16, .group = 1, .first = 700, .window = 300}));

TEST(MixtureTest, WhatAQueryDoesNotSeeAddsNothing) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::vector<float> own(Mixture::Numbers(2, 16)), other = own;
  const Mixture all(own.data(), 2, 16), part(other.data(), 2, 16);
  all.Clear();
  part.Clear();
  part.mixed[16] = 3;
  part.shift[1] = 2;
  part.sum[1] = 1.5F;
  all.Add(part);
  EXPECT_EQ(all.shift[0], kNone);
  EXPECT_EQ(all.sum[0], 0);
  EXPECT_EQ(all.mixed[16], 3);
  EXPECT_EQ(all.sum[1], 1.5F);
  // Higher scores, then lower ones: each part counts by its own.
  part.shift[1] = 4;
  all.Add(part);
  EXPECT_NEAR(all.mixed[16], 3 + 3 * std::exp(-2.0), 1e-6);
  EXPECT_NEAR(all.sum[1], 1.5 + 1.5 * std::exp(-2.0), 1e-6);
  part.shift[1] = 3;
  all.Add(part);
  EXPECT_NEAR(all.sum[1], 1.5 * (1 + std::exp(-1.0) + std::exp(-2.0)), 1e-6);
  EXPECT_EQ(all.shift[1], 4);
}

}  // namespace
}  // namespace puzzle::decode
