// Reasons: why a step runs, in words.
#include "graph/plan/stale.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/view/draw.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StaleTest : public GraphTest {};

constexpr const char* kStaleChain = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "v"}},
  "b": {"kind": "upper", "in": {"in": "a"}},
  "c": {"kind": "concat", "in": {"parts": ["b"]}}}})";

TEST_F(StaleTest, WhatNeverRanIsMissing) {
  Load(kStaleChain);
  EXPECT_THAT(Forecasts(), ElementsAre("RUN a: missing", "RUN b: missing", "RUN c: missing"));
  EXPECT_FALSE(std::filesystem::exists(folder() + "/store"));  // looking changes nothing
}

TEST_F(StaleTest, AChangedParameterIsNamedWithOldAndNewValueEvenWhileInputsAreOpen) {
  Load(kStaleChain);
  Run();
  Set("a.value=w");
  Set("c.separator=;");
  EXPECT_THAT(Forecasts(), ElementsAre("RUN a: params.value: \"v\" -> \"w\"", "WAIT b: waits for a",
                                       "RUN c: params.separator: \",\" -> \";\""));
}

TEST_F(StaleTest, ReasonsCompareWithWhatTheStepWasLast) {
  Load(kStaleChain);
  Run();
  Set("a.value=w");
  Run();
  ClearSettings();
  Run();  // back to v: all hits, and remembered as such
  Set("a.value=x");
  EXPECT_EQ(Forecasts()[0], "RUN a: params.value: \"v\" -> \"x\"");
}

TEST_F(StaleTest, ANewInputIsNamed) {
  Load(kStaleChain);
  Run();
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "v"}},
    "b": {"kind": "upper", "in": {"in": "a"}},
    "c": {"kind": "concat", "in": {"parts": ["b", "a"]}}}})");
  EXPECT_EQ(Forecasts()[2], "RUN c: input parts: 1 artifact -> 2");
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "v"}},
    "b": {"kind": "upper", "in": {"in": "a"}},
    "c": {"kind": "concat", "in": {"parts": ["a"]}}}})");
  EXPECT_EQ(Forecasts()[2], "RUN c: input parts changed (a)");
}

TEST_F(StaleTest, AnotherKindUnderTheSameNameIsNamed) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})");
  Run();
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "stream"}}})");
  EXPECT_THAT(Forecasts(), ElementsAre("RUN a: kind text -> stream"));
}

TEST_F(StaleTest, LostAndDamagedFilesAreNamedAndWarnedAbout) {
  Load(kStaleChain);
  Run();
  const std::string file = FileOf("b");
  std::filesystem::remove(file);
  EXPECT_THAT(Forecasts()[1], HasSubstr("RUN b: artifact file missing"));
  EXPECT_EQ(Forecasts()[2], "WAIT c: waits for b");
  Run();
  EXPECT_EQ(ran(), Steps("b"));
  EXPECT_EQ(cached(), Steps("a", "c"));
  ASSERT_EQ(observer_.warnings.size(), 1u);
  EXPECT_THAT(observer_.warnings[0], HasSubstr("b: artifact file missing"));
}

TEST_F(StaleTest, DurationsOfPastRunsMakeTheEstimate) {
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": [1, 2]}, "params": {"ms": 60, "value": "a${i}"}}}})");
  Run();
  Set("s.value=b${i}");
  Plan();
  ReopenStore();
  const Forecast forecast = MarkStale(*plan_, *store_);
  EXPECT_NEAR(forecast.expected_s, 0.12, 0.08);
  EXPECT_LT(forecast.Estimate(2), forecast.Estimate(1));
}

TEST_F(StaleTest, ThePlanIsListedPerNodeOrPerStep) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": {"range": [0, 5]}}, "params": {"value": "${i}"}},
    "c": {"kind": "concat", "in": {"parts": ["t"]}}}})");
  Run();
  Set("t[i=3].value=x");
  Plan();
  ReopenStore();
  const Forecast forecast = MarkStale(*plan_, *store_);
  EXPECT_THAT(ForecastText(*plan_, forecast, false, 2),
              ::testing::StartsWith("HIT   t (4 of 5 steps, first t[i=0])\n"
                                    "RUN   t[i=3]  params.value: \"3\" -> \"x\"\n"
                                    "WAIT  c  waits for t[i=3]\n"
                                    "6 steps: 4 HIT, 1 RUN, 1 WAIT; about "));
  EXPECT_THAT(ForecastText(*plan_, forecast, true, 2), HasSubstr("HIT   t[i=4]\n"));
  const auto json = nlohmann::json::parse(ForecastJson(*plan_, forecast, 2));
  EXPECT_EQ(json["steps"]["run"], 1);
  EXPECT_EQ(json["plan"][3]["reason"], "params.value: \"3\" -> \"x\"");
}

}  // namespace
}  // namespace puzzle::testing
