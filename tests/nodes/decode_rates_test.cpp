#include "nodes/cost/decode_rates.h"

#include <gtest/gtest.h>

namespace puzzle {
namespace {

// Three layers of 64 hidden numbers: 4 query heads of 16 with 2 kv heads, one kv head behind a
// window, and no attention; a vocabulary of 32.
ModelConfig ThreeLayers() {
  ModelConfig config;
  config.vocab_size = 32;
  config.hidden_size = 64;
  config.n_heads = 4;
  config.head_dim = 16;
  config.max_positions = 4096;
  config.tied_embeddings = true;
  config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 128}},
                   {{SubBlockForm::kFull, 1, 100}, {SubBlockForm::kFull, 128}},
                   {{SubBlockForm::kLinear, 0}, {SubBlockForm::kNone, 0}}};
  return config;
}

// By hand: qkv, out, FFN; the same; the linear map; the head.
constexpr double kNumbers =
    (64 * 128 + 64 * 64 + 3 * 64 * 128) + (64 * 96 + 64 * 64 + 3 * 64 * 128) + 64 * 64 + 32 * 64;

const BenchOptions kOptions{.type = decode::WeightType::kBf16,
                            .bf16_cache = true,
                            .batch = 8,
                            .prefill = 1000,
                            .decode = 48};

TEST(DecodeRatesTest, ShapesAreTheQueriesThatShareAHead) {
  EXPECT_EQ(AttentionShapesOf(ThreeLayers()), (std::set<AttentionShape>{{16, 2}, {16, 4}}));
}

TEST(DecodeRatesTest, AStepTakesWhatBindsAndItsAttention) {
  const ModelConfig config = ThreeLayers();
  DecodeRates rates{
      .bandwidth = 1e6, .products = 1e6, .attention = {{{16, 2}, 5e5}, {{16, 4}, 2e5}}};
  // Keys and values of 8 sequences half way through the 48 tokens; the window sees 100.
  const double attention_s = 8 * 1024 * 2 * 16 * 2 * 2 / 5e5 + 8 * 100 * 1 * 16 * 2 * 2 / 2e5;
  EXPECT_NEAR(AttentionSeconds(config, kOptions, rates), attention_s, 1e-9);
  // 16 operations with a number of two bytes: they bind at equal rates.
  EXPECT_NEAR(ProductSeconds(config, kOptions, rates), 16 * kNumbers / 1e6, 1e-9);
  EXPECT_NEAR(StepSeconds(config, kOptions, rates), 16 * kNumbers / 1e6 + attention_s, 1e-9);
  rates.products = 1e9;
  EXPECT_NEAR(StepSeconds(config, kOptions, rates), 2 * kNumbers / 1e6 + attention_s, 1e-9);
  // A cache that is read at a third of the bandwidth counts three times as much.
  rates.bandwidth = 1e12;
  rates.attention = {{{16, 2}, 1e6 / 3}, {{16, 4}, 1e6 / 3}};
  const double third_s = StepSeconds(config, kOptions, rates);
  rates.attention = {{{16, 2}, 1e6}, {{16, 4}, 1e6}};
  EXPECT_NEAR(third_s / StepSeconds(config, kOptions, rates), 3, 0.01);
}

TEST(DecodeRatesTest, EveryRateIsMeasuredInEveryType) {
  for (const decode::WeightType type :
       {decode::WeightType::kFp32, decode::WeightType::kBf16, decode::WeightType::kInt8}) {
    BenchOptions options = kOptions;
    options.type = type;
    options.bf16_cache = type != decode::WeightType::kFp32;
    options.threads = 2;
    RateMeter meter(options, {{64, 3}, {16, 1}});
    meter.Measure();
    const DecodeRates first = meter.Rates();
    EXPECT_GT(first.bandwidth, 0);
    EXPECT_GT(first.products, 0);
    ASSERT_EQ(first.attention.size(), 2u);
    for (const auto& [shape, rate] : first.attention) EXPECT_GT(rate, 0) << shape.head_dim;
    // Of two measurements the median is their mean.
    const double second = meter.Measure().bandwidth;
    EXPECT_NEAR(meter.Rates().bandwidth, (first.bandwidth + second) / 2, 1);
  }
}

// A cache of one head may be larger than the memory that stands for it.
TEST(DecodeRatesTest, SequencesOfAnyLengthHaveARate) {
  BenchOptions options = kOptions;
  options.prefill = int64_t{1} << 22;
  RateMeter meter(options, {{64, 1}});
  meter.Measure();
  EXPECT_GT(meter.Rates().attention.at({64, 1}), 0);
}

}  // namespace
}  // namespace puzzle
