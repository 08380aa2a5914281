#include "nodes/latency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

// Enough to run every path; the figures themselves are not looked at.
const TimingEffort kHaste{0.0, [] {}};
const ServingLoad kLoad{5, 12, 6};

TEST(ServingTimeTest, SummaryIsMedianAndScaledMedianDeviation) {
  EXPECT_EQ(Summarize({0.003, 0.001, 0.1}).ms, 3);
  const Timing even = Summarize({0.001, 0.002, 0.004, 0.009});
  EXPECT_DOUBLE_EQ(even.ms, 3);
  EXPECT_DOUBLE_EQ(even.spread_ms, 1.4826 * 1.5);  // deviations 2, 1, 1, 6
}

TEST(ServingTimeTest, ATimeIsNeverNegative) {
  EXPECT_EQ(Summarize({-0.002, -0.001, 0.004}).ms, 0);
}

TEST(ServingTimeTest, NothingCostsNothing) {
  EXPECT_EQ(TimeSubBlock(TinyConfig(), FfnSpec{SubBlockForm::kNone, 0}, kLoad, "cpu", 2, kHaste),
            ServingTimes{});
}

TEST(ServingTimeTest, EveryKindOfSubBlockCanBeTimedAndAModelTakesTime) {
  const std::vector<VariantSpec> specs = {
      AttentionSpec{SubBlockForm::kFull, 1}, AttentionSpec{SubBlockForm::kLinear, 0},
      FfnSpec{SubBlockForm::kFull, 24}, FfnSpec{SubBlockForm::kLinear, 0}};
  int polls = 0;
  for (const VariantSpec& spec : specs) {
    const ServingTimes times =
        TimeSubBlock(TinyConfig(), spec, kLoad, "cpu", 0, {0.0, [&] { ++polls; }});
    EXPECT_GE(times.prefill.ms, 0) << VariantName(spec);
    EXPECT_GE(times.decode.ms, 0) << VariantName(spec);
  }
  EXPECT_GE(polls, 4 * 2 * 7);
  const ServingTimes whole = TimeModel(TinyModel(), kLoad, kHaste);
  EXPECT_GT(whole.prefill.ms, 0);
  EXPECT_GT(whole.decode.ms, 0);
  EXPECT_GT(TimeOutside(TinyConfig(), kLoad, "cpu", kHaste).decode.ms, 0);
}

TEST(ServingTimeTest, ALoadLongerThanTheModelsContextIsRefused) {
  try {
    static_cast<void>(TimeModel(TinyModel(), {1, 60, 5}, kHaste));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("= 65 positions, but the model has 64"));
  }
}

Latencies SomeLatencies() {
  Latencies latencies{"cpu", kLoad, {{1, .1}, {2, .2}}, {}};
  latencies.times["attn:kv2"] = {{10, 1}, {0.5, .1}};
  latencies.times["ffn:48"] = {{20, 1}, {0.25, .1}};
  latencies.times["ffn:none"] = {};
  return latencies;
}

TEST(LatencyTest, APredictionIsTheSumOfTheParts) {
  ModelConfig config = TinyConfig();
  Place(FfnSpec{SubBlockForm::kNone, 0}, config.blocks[1]);
  const ServingTimes times = PredictTimes(config, SomeLatencies());
  EXPECT_DOUBLE_EQ(times.prefill.ms, 1 + 2 * 10 + 20);
  EXPECT_DOUBLE_EQ(times.decode.ms, 2 + 2 * 0.5 + 0.25);
  Place(AttentionSpec{SubBlockForm::kFull, 1}, config.blocks[0]);
  try {
    static_cast<void>(PredictTimes(config, SomeLatencies()));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "layer 0: attn:kv1 was not measured");
  }
}

TEST(LatencyTest, ArtifactsComeBackAsTheyWere) {
  std::string name = (fs::temp_directory_path() / "puzzle_latency_XXXXXX").string();
  const std::string folder = mkdtemp(name.data());
  auto round_trip = [&](const auto& value, const std::string& file) {
    const auto archive = Hdf5Format().create(folder + file);
    value.Save(*archive);
    archive->Close();
    return std::decay_t<decltype(value)>::Load(Hdf5Format().open(folder + file));
  };
  const Latencies latencies = round_trip(SomeLatencies(), "/latencies.h5");
  EXPECT_EQ(latencies.times, SomeLatencies().times);
  EXPECT_EQ(latencies.outside, SomeLatencies().outside);
  EXPECT_EQ(latencies.load.prefill, 12);
  const ModelLatency model{"child", kLoad, {{3, .1}, {4, .1}}, ServingTimes{{5, 0}, {6, 0}}};
  const ModelLatency loaded = round_trip(model, "/model.h5");
  EXPECT_EQ(loaded.measured, model.measured);
  EXPECT_EQ(loaded.predicted, model.predicted);
  EXPECT_EQ(loaded.label, "child");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace puzzle
