#include "nodes/cost/latency.h"

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

// Rounds that took as long as they measured.
std::vector<Round> Plain(const std::vector<double>& values) {
  std::vector<Round> rounds;
  for (const double value : values) rounds.push_back({value, value});
  return rounds;
}

TEST(TimingTest, ATimeIsTheMedianOfTheQuietestQuarterAndItsScaledMedianDeviation) {
  EXPECT_EQ(Summarize(Plain({0.007, 0.003})).ms, 3);
  std::vector<double> values = {0.004, 0.001, 0.009, 0.002};
  values.resize(16, 0.5);  // most of the time somebody else was busy
  const Timing even = Summarize(Plain(values));
  EXPECT_DOUBLE_EQ(even.ms, 3);
  EXPECT_DOUBLE_EQ(even.spread_ms, 1.4826 * 1.5);  // deviations 2, 1, 1, 6
}

TEST(TimingTest, RoundsAreChosenByWhatTheyTookNotByTheirValue) {
  EXPECT_EQ(Summarize({{0.001, 9}, {0.005, 2}, {0.002, 3}, {0.003, 4}}).ms, 5);
}

TEST(TimingTest, ATimeIsNeverNegative) {
  EXPECT_EQ(Summarize({{-0.002, 1}}).ms, 0);
}

TEST(ServingTimeTest, NothingCostsNothing) {
  ServingRounds rounds;
  MeasureSubBlock(TinyConfig(), FfnSpec{SubBlockForm::kNone, 0}, kLoad, "cpu", 2, kHaste, rounds);
  EXPECT_EQ(rounds.Times(), ServingTimes{});
}

TEST(ServingTimeTest, EveryKindOfSubBlockCanBeMeasuredAndAModelTakesTime) {
  const std::vector<VariantSpec> specs = {
      AttentionSpec{SubBlockForm::kFull, 1}, AttentionSpec{SubBlockForm::kLinear, 0},
      FfnSpec{SubBlockForm::kFull, 24}, FfnSpec{SubBlockForm::kLinear, 0}};
  for (const VariantSpec& spec : specs) {
    int polls = 0;
    ServingRounds rounds;
    MeasureSubBlock(TinyConfig(), spec, kLoad, "cpu", 0, {0.0, [&] { ++polls; }}, rounds);
    EXPECT_EQ(rounds.prefill.size(), 3) << VariantName(spec);
    EXPECT_EQ(rounds.decode.size(), 3) << VariantName(spec);
    EXPECT_EQ(polls, 6);
    for (const Round& round : rounds.decode) EXPECT_GT(round.took_s, std::abs(round.value_s));
  }
  ServingRounds whole, outside;
  MeasureModel(TinyModel(), kLoad, kHaste, whole);
  MeasureModel(TinyModel(), kLoad, kHaste, whole);
  EXPECT_EQ(whole.decode.size(), 6) << "a visit adds to the ones before";
  MeasureOutside(TinyConfig(), kLoad, "cpu", kHaste, outside);
  for (const ServingRounds& rounds : {whole, outside}) {
    EXPECT_GT(rounds.Times().prefill.ms, 0);
    EXPECT_GT(rounds.Times().decode.ms, 0);
  }
}

TEST(ServingTimeTest, ALoadLongerThanTheModelsContextIsRefused) {
  ServingRounds rounds;
  try {
    MeasureModel(TinyModel(), {1, 60, 5}, kHaste, rounds);
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
  EXPECT_EQ(times.prefill.spread_ms, 0) << "that of a sum is not known";
  EXPECT_EQ(times.decode.spread_ms, 0);
  Place(AttentionSpec{SubBlockForm::kFull, 1}, config.blocks[0]);
  try {
    static_cast<void>(PredictTimes(config, SomeLatencies()));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "layer 0: attn:kv1 was not measured: measure the same variants");
  }
}

TEST(LatencyTest, WindowsAreToldApart) {
  ModelConfig config = TinyConfig();
  config.blocks[1].attention.window = 5;
  Latencies latencies = SomeLatencies();
  EXPECT_THROW(static_cast<void>(PredictTimes(config, latencies)), Error)
      << "the time of one window stands for another";
  latencies.times["attn:kv2w5"] = {{7, 1}, {0.125, .1}};
  EXPECT_DOUBLE_EQ(PredictTimes(config, latencies).prefill.ms, 1 + 10 + 7 + 2 * 20);
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
