#include "nodes/cost/decode_bench.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/weights.h"
#include "nodes/cost/bench.h"
#include "nodes/data/artifacts.h"
#include "tests/io/temp_folder.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

// Large enough that its weights, and not the reading of clocks, take the time.
ModelConfig BenchedConfig(int64_t layers) {
  ModelConfig config;
  config.vocab_size = 512;
  config.hidden_size = 256;
  config.n_heads = 4;
  config.head_dim = 64;
  config.max_positions = 64;
  config.tied_embeddings = true;
  config.blocks.assign(static_cast<size_t>(layers),
                       {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 512}});
  return config;
}

std::string BenchComplaint(const BenchOptions& options, uint64_t free_bytes) {
  try {
    CheckBench({BenchedConfig(4)}, {"small"}, options, free_bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(DecodeBenchTest, TheMedianStandsBetweenLowestAndHighest) {
  const Measured odd = MedianOf({3, 1, 7});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.low, 1);
  EXPECT_EQ(odd.high, 7);
  EXPECT_EQ(MedianOf({4, 1, 2, 9}).median, 3);
}

TEST(DecodeBenchTest, WhatDoesNotFitTheContextIsSaid) {
  EXPECT_EQ(BenchComplaint({.prefill = 40, .decode = 24}, 0), "");
  EXPECT_THAT(
      BenchComplaint({.prefill = 40, .decode = 25}, 0),
      HasSubstr("small: a prompt of 40 tokens and 25 behind it: the model has 64 positions"));
}

// Their sum has no 64 bits, and neither have the bytes of such a batch.
TEST(DecodeBenchTest, HugeNumbersAreRefusedBeforeTheyAreAddedUp) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  EXPECT_THAT(BenchComplaint({.prefill = kHuge, .decode = kHuge}, 0), HasSubstr("64 positions"));
  EXPECT_THAT(BenchComplaint({.prefill = 1, .decode = kHuge}, 0), HasSubstr("64 positions"));
  EXPECT_THAT(BenchComplaint({.batch = kHuge, .prefill = 40, .decode = 24}, 1 << 30),
              HasSubstr("at most 1048576"));
}

TEST(DecodeBenchTest, ABatchThatDoesNotFitNamesTheLargestThatDoes) {
  BenchOptions options{.batch = 1000, .prefill = 40, .decode = 24};
  const auto bytes_of = [&](int64_t batch) {
    BenchOptions with = options;
    with.batch = batch;
    return decode::BytesOf(BenchedConfig(4), DecoderFor(with)).Total();
  };
  EXPECT_THAT(BenchComplaint(options, bytes_of(37)), HasSubstr("the largest that fits is 37"));
  EXPECT_THAT(BenchComplaint(options, bytes_of(37) - 1), HasSubstr("the largest that fits is 36"));
  EXPECT_THAT(BenchComplaint(options, 1000), HasSubstr("not even one sequence fits"));
  options.batch = 37;
  EXPECT_EQ(BenchComplaint(options, bytes_of(37)), "");
}

TEST(DecodeBenchTest, FiguresBelongToEachOther) {
  const BenchOptions options{.batch = 2, .prefill = 16, .decode = 8, .rounds = 3};
  decode::Decoder large(RandomModel(BenchedConfig(8), 1), DecoderFor(options));
  decode::Decoder small(RandomModel(BenchedConfig(2), 1), DecoderFor(options));
  double done = -1;
  const auto results = RunBench({&large, &small}, {"large", "small"}, options, [&](double share) {
    EXPECT_GT(share, done);
    EXPECT_LT(share, 1);
    done = share;
  });
  ASSERT_EQ(results.size(), 2u);
  for (const BenchResult& result : results) {
    EXPECT_GT(result.decode_tok_s.low, 0);
    EXPECT_LE(result.decode_tok_s.low, result.decode_tok_s.median);
    EXPECT_LE(result.decode_tok_s.median, result.decode_tok_s.high);
    // Both prompts of 16 tokens come before the first token.
    EXPECT_NEAR(result.prefill_tok_s.median, 32e3 / result.first_token_ms.median,
                1e-6 * result.prefill_tok_s.median);
    EXPECT_GT(result.bandwidth_gb_s, 0);
    EXPECT_GT(result.product_share, 0);
  }
  // Heads of both are alike, and so is what attention makes of them.
  EXPECT_GT(results[0].cache_gb_s, 0);
  EXPECT_NEAR(results[1].cache_gb_s, results[0].cache_gb_s, 1e-6 * results[0].cache_gb_s);
  EXPECT_EQ(results[0].ratio, 1);
  EXPECT_EQ(results[0].predicted_ratio, 1);
  EXPECT_GT(results[1].ratio, 0);
  // Four times the blocks and the same head, of what a step reads or multiplies.
  const auto numbers = [](int64_t layers) {
    return static_cast<double>(decode::StepNumbers(BenchedConfig(layers)));
  };
  EXPECT_NEAR(results[1].predicted_ratio, numbers(8) / numbers(2), 0.15 * numbers(8) / numbers(2));
  const double mib = 1 << 20;
  EXPECT_NEAR(
      results[0].memory_mib,
      static_cast<double>(decode::BytesOf(BenchedConfig(8), DecoderFor(options)).Total()) / mib,
      1e-9);
}

// Turns of a few tokens each, as equal as can be.
TEST(DecodeBenchTest, EveryModelWritesAllTokensOfARound) {
  for (const int64_t count : {3, 8, 21}) {
    const BenchOptions options{.batch = 2, .prefill = 5, .decode = count, .rounds = 2};
    decode::Decoder one(RandomModel(BenchedConfig(1), 1), DecoderFor(options));
    decode::Decoder other(RandomModel(BenchedConfig(2), 1), DecoderFor(options));
    int64_t steps = 0;
    (void)RunBench({&one, &other}, {"one", "other"}, options, [&](double) { ++steps; });
    EXPECT_EQ(steps, 2 * 2 * count);
    for (const decode::Decoder* model : {&one, &other})
      for (const int64_t sequence : {0, 1}) EXPECT_EQ(model->Length(sequence), 5 + count);
  }
}

TEST(DecodeBenchTest, TheKindMeasuresAModelBesideItsParentAndItsFiguresComeBack) {
  const auto checkpoint = [](int64_t layers) {
    return Checkpoint{RandomModel(BenchedConfig(layers), 1), {}, {}, {}};
  };
  FakeInputs inputs;
  inputs.Add("parent", "a", checkpoint(2)).Add("model", "b", checkpoint(1));
  const BenchParams params{.label = "child",
                           .dtype = "int8",
                           .batch = 2,
                           .prefill = 8,
                           .decode = 4,
                           .rounds = 2,
                           .threads = 1};
  FakeContext context;
  const Bench bench = RunBenchStep(params, inputs, context);
  ASSERT_EQ(bench.results.size(), 2u);
  EXPECT_EQ(bench.results[0].model, "parent");
  EXPECT_EQ(bench.results[1].model, "child");
  EXPECT_GT(bench.results[1].predicted_ratio, 1);
  const TempFolder folder;
  {
    const auto out = Hdf5Format().create(folder.path() + "/bench.h5");
    bench.Save(*out);
    out->Close();
  }
  const Bench loaded = Bench::Load(Hdf5Format().open(folder.path() + "/bench.h5"));
  EXPECT_EQ(BenchJson(loaded.results, loaded.options), BenchJson(bench.results, bench.options));
  FakeInputs alone;
  alone.Add("model", "b", checkpoint(1));
  BenchParams all = params;
  all.threads = 0;  // those of the lane
  const Bench by_lane = RunBenchStep(all, alone, context);
  EXPECT_EQ(by_lane.results.size(), 1u);
  EXPECT_EQ(by_lane.options.threads, at::get_num_threads());
  EXPECT_EQ(bench.options.threads, 1);
}

}  // namespace
}  // namespace puzzle
