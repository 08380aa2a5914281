// Two graphs on one store that use a step name for different things, and results of another
// numerical environment.
#include <nlohmann/json.hpp>

#include "graph/plan/key.h"
#include "graph/store/inventory.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TwoGraphsTest : public GraphTest {
 protected:
  /// What the command line does with a graph file.
  std::vector<std::string> ForecastsOf(const std::string& name, const std::string& graph) {
    Load(graph);
    EXPECT_EQ(Problems(), "");
    store_->WorkOn(folder() + '/' + name);
    forecast_ = MarkStale(*plan_, *store_, orders_);
    std::vector<std::string> lines;
    for (StepId id = 0; id < plan_->steps.size(); ++id) {
      const StepForecast& step = forecast_.steps[id];
      const std::string reason = step.reason.empty() ? "" : ": " + step.reason;
      lines.push_back(std::string(FateName(step)) + ' ' + plan_->steps[id].name + reason);
    }
    return lines;
  }
  void RunOf(const std::string& name, const std::string& graph) {
    static_cast<void>(ForecastsOf(name, graph));
    LocalLanesOptions lane_options;
    lane_options.devices = devices_;
    LocalLanes lanes(std::move(lane_options));
    const Report report = Execute(*plan_, forecast_, *store_, lanes, &observer_, options_);
    EXPECT_EQ(report.ExitCode(), 0);
  }
  static std::string Graph(const std::string& value, const std::string& separator) {
    return R"({"puzzle": 1, "nodes": {
      "source": {"kind": "text", "params": {"value": ")" +
           value + R"("}},
      "middle": {"kind": "upper", "in": {"in": "source"}},
      "end": {"kind": "concat", "in": {"parts": ["middle"]}, "params": {"separator": ")" +
           separator + R"("}}}})";
  }
};

TEST_F(TwoGraphsTest, AStepThatWaitsIsComparedWithItsOwnGraph) {
  RunOf("one.json", Graph("x", ";"));
  RunOf("two.json", Graph("y", "|"));
  // Its middle is gone: what comes behind it waits, and nothing of it changed.
  selection_.force = {"middle"};
  const std::vector<std::string> forecast = ForecastsOf("one.json", Graph("x", ";"));
  EXPECT_THAT(forecast, Contains("WAIT end: waits for middle"));
}

TEST_F(TwoGraphsTest, WhatAStepOfAnotherTypeTookTellsNothingOfThisOne) {
  RunOf("one.json", Graph("x", ";"));
  static_cast<void>(ForecastsOf("two.json", R"({"puzzle": 1, "nodes": {
    "source": {"kind": "text", "params": {"value": "y"}},
    "middle": {"kind": "count", "in": {"in": "source"}}}})"));
  EXPECT_FALSE(forecast_.steps[Find("source")].guessed);
  EXPECT_TRUE(forecast_.steps[Find("middle")].guessed);
}

TEST_F(TwoGraphsTest, AGraphThatNeverRanIsComparedWithWhatTheNameMeantLast) {
  RunOf("one.json", Graph("x", ";"));
  EXPECT_THAT(ForecastsOf("copy.json", Graph("new", ";")),
              Contains("RUN source: params.value: \"x\" -> \"new\""));
}

TEST_F(TwoGraphsTest, WhatBothMeanIsCurrent) {
  RunOf("one.json", Graph("x", ";"));
  RunOf("two.json", Graph("y", "|"));
  ReopenStore();
  const Inventory inventory = TakeInventory(*store_);
  EXPECT_EQ(inventory.results.size(), 6u);
  for (const StoredResult& result : inventory.results) EXPECT_TRUE(result.current);
  RunOf("two.json", Graph("z", "|"));
  ReopenStore();
  size_t superseded = 0;
  const Inventory later = TakeInventory(*store_);
  for (const StoredResult& result : later.results) superseded += result.current ? 0 : 1;
  EXPECT_EQ(superseded, 3u);
}

TEST_F(TwoGraphsTest, NamesSurviveTheRewritingOfTheFile) {
  for (int i = 0; i < 600; ++i) {
    store_->WorkOn(i % 2 == 0 ? "a.json" : "b.json");
    store_->AnnounceRun();
    std::string key = std::to_string(i);
    store_->Remember("step", std::string(64 - key.size(), 'a') + key);
  }
  for (int i = 0; i < 600; ++i) {
    store_->WorkOn("a.json");
    store_->Remember("step", std::string(64, i % 2 == 0 ? 'b' : 'c'));
  }
  ReopenStore();
  store_->TidyUp();
  ReopenStore();
  store_->WorkOn("b.json");
  EXPECT_EQ(store_->LastKey("step"), std::string(61, 'a') + "599");
  store_->WorkOn("a.json");
  EXPECT_EQ(store_->LastKey("step"), std::string(64, 'c'));
  store_->WorkOn("never.json");
  EXPECT_EQ(store_->LastKey("step"), std::string(64, 'c'));
}

// -------------------------------------------------------------------------------------------------

class EnvironmentTest : public GraphTest {
 protected:
  EnvironmentTest() {
    Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text"}, "s": {"kind": "sleep"},
             "m": {"kind": "measure"}}})");
    Plan();
  }
  std::string RecipeOf(const std::string& step) {
    return RecipeText(*plan_, Find(step), PortDigests(plan_->kind(Find(step)).ports.size()));
  }
};

TEST_F(EnvironmentTest, OnlyWhatMeasuresIsBoundToItUnlessItIsAskedFor) {
  EXPECT_EQ(RecipeOf("s").find("environment"), std::string::npos);
  EXPECT_NE(RecipeOf("m").find("\"environment\":{}"), std::string::npos);
  plan_->numerics = {{"libtorch", "1.13.1"}};
  EXPECT_EQ(RecipeOf("t").find("environment"), std::string::npos) << "computed on no device";
  EXPECT_THAT(RecipeOf("s"), HasSubstr(R"({"environment":{"libtorch":"1.13.1"},"format")"));
  plan_->environments = {{"", {{"cpu", "x"}}}};
  EXPECT_THAT(RecipeOf("m"), HasSubstr(R"("environment":{"cpu":"x","libtorch":"1.13.1"})"));
  EXPECT_EQ(RecipeOf("s").find("\"cpu\""), std::string::npos);
}

TEST_F(EnvironmentTest, WhatComputedAResultStandsInItsRecord) {
  options_.numerics = {{"blas_kernel", "Haswell"}};
  Run();
  const auto record = [&](const char* step) {
    return RecordJson(report().steps[Find(step)].record);
  };
  EXPECT_EQ(record("s")["environment"]["blas_kernel"], "Haswell");
  EXPECT_FALSE(record("t").contains("environment"));
}

}  // namespace
}  // namespace puzzle::testing
