// Patterns, and what --until, --from, --only, --force and --accept leave and change.
#include "graph/plan/select.h"

#include <nlohmann/json.hpp>

#include "graph/language/pattern.h"
#include "graph/run/step_record.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SelectTest : public GraphTest {
 protected:
  /// Names of the steps that a pattern matches; diagnostics go to problems_.
  std::vector<std::string> Matched(const std::string& pattern) {
    Diagnostics diagnostics;
    std::vector<std::string> names;
    for (const StepId id : MatchSteps(*plan_, pattern, "STEP " + pattern, diagnostics)) {
      names.push_back(plan_->steps[id].name);
    }
    problems_ = diagnostics.Text();
    return names;
  }

  std::string problems_;
};

TEST_F(SelectTest, GlobsMatchWholeTexts) {
  EXPECT_TRUE(MatchesGlob("*", ""));
  EXPECT_TRUE(MatchesGlob("ffn:*", "ffn:50%"));
  EXPECT_TRUE(MatchesGlob("a*b*c", "a-b-b-c"));
  EXPECT_TRUE(MatchesGlob("*ab", "aab"));
  EXPECT_TRUE(MatchesGlob("?", "x"));
  EXPECT_TRUE(MatchesGlob("a**", "a"));
  EXPECT_FALSE(MatchesGlob("", "x"));
  EXPECT_FALSE(MatchesGlob("ffn", "ffn:50%"));
  EXPECT_FALSE(MatchesGlob("?", ""));
  EXPECT_FALSE(MatchesGlob("a*b", "abc"));
}

constexpr const char* kSelectGrid = R"({"puzzle": 1, "nodes": {
  "bld": {"kind": "text", "foreach": {"layer": [1, 2, 12], "variant": ["ffn:50%", "ffn:0%", "attn"]}},
  "bld2": {"kind": "upper", "in": {"in": "bld[layer=1,variant=attn]"}},
  "all": {"kind": "concat", "in": {"parts": ["bld", "bld2"]}}}})";

TEST_F(SelectTest, PatternsNameNodesAndConditionsOnAxes) {
  Load(kSelectGrid);
  Plan();
  EXPECT_EQ(Matched("bld").size(), 9u);
  EXPECT_EQ(Matched("bld*").size(), 10u);
  EXPECT_EQ(Matched("*").size(), 11u);
  EXPECT_THAT(Matched("bld[layer=2,variant=ffn:50%]"), ElementsAre("bld[layer=2,variant=ffn:50%]"));
  EXPECT_THAT(Matched("bld[variant=ffn:50%,layer=2]"), ElementsAre("bld[layer=2,variant=ffn:50%]"));
  EXPECT_THAT(Matched("bld[layer=1,variant=ffn*]"),
              ElementsAre("bld[layer=1,variant=ffn:50%]", "bld[layer=1,variant=ffn:0%]"));
  EXPECT_THAT(Matched("bld[layer=1?,*]").size(), 3u);
  EXPECT_THAT(Matched("*[variant=attn]").size(), 3u);
  EXPECT_EQ(problems_, "");
}

TEST_F(SelectTest, TheNameOfAStepMeansThatStepAlone) {
  Load(R"({"puzzle": 1, "nodes": {
    "read": {"kind": "text", "foreach": {"files": ["a.txt", "*.txt", "?"]}}}})");
  Plan();
  EXPECT_THAT(Matched("read[files=*.txt]"), ElementsAre("read[files=*.txt]"));
  EXPECT_THAT(Matched("read[files=?]"), ElementsAre("read[files=?]"));
  EXPECT_EQ(Matched("read[files=*txt]").size(), 2u);
  EXPECT_EQ(problems_, "");
}

TEST_F(SelectTest, WhatMatchesNothingIsAnErrorWithAHint) {
  Load(kSelectGrid);
  Plan();
  const auto problem = [&](const std::string& pattern) {
    EXPECT_THAT(Matched(pattern), IsEmpty());
    return problems_;
  };
  EXPECT_EQ(problem("bdl"), "STEP bdl: matches no step (did you mean \"bld\"?)\n");
  EXPECT_EQ(problem("bld[laier=1]"),
            "STEP bld[laier=1]: matches no step (did you mean \"layer\"?)\n");
  EXPECT_EQ(problem("bld[layer=1,variant=ffn:5%]"),
            "STEP bld[layer=1,variant=ffn:5%]: matches no step (did you mean "
            "\"bld[layer=1,variant=ffn:50%]\"?)\n");
  EXPECT_EQ(problem("bld[layer=9*]"), "STEP bld[layer=9*]: matches no step\n");
  for (const char* bad : {"", "bld[", "bld[layer]", "bld[layer=1", "[layer=1]", "bld[=1]"}) {
    EXPECT_THAT(problem(bad), HasSubstr("expected a node or NODE[axis=value,...]")) << bad;
  }
}

TEST_F(SelectTest, ANodeOfAnIncludedGraphIsHintedByItsWholeName) {
  source_ = folder() + "/main.json";
  WriteFile("body.json",
            R"({"puzzle": 1, "nodes": {"student": {"kind": "text", "params": {"value": "v"}}}})");
  Load(R"({"puzzle": 1, "include": {"run": {"file": "body.json"}}})");
  Plan();
  EXPECT_THAT(Matched("student[budget=90%]"), IsEmpty());
  EXPECT_EQ(problems_,
            "STEP student[budget=90%]: matches no step (did you mean \"run/student\"?)\n");
}

constexpr const char* kDiamond = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "v"}},
  "left": {"kind": "upper", "in": {"in": "a"}},
  "right": {"kind": "concat", "in": {"parts": ["a"]}},
  "end": {"kind": "concat", "in": {"parts": ["left", "right"]}},
  "other": {"kind": "text", "params": {"value": "o"}}}})";

TEST_F(SelectTest, UntilRunsStepsAndWhatTheyDependOn) {
  Load(kDiamond);
  selection_.until = {"left", "other"};
  Run();
  EXPECT_EQ(ran(), Steps("a", "left", "other"));
  EXPECT_EQ(report().ExitCode(), 0);
}

TEST_F(SelectTest, FromRunsStepsAndWhatDependsOnThem) {
  Load(kDiamond);
  selection_.until = {"right"};
  Run();
  selection_ = {};
  selection_.from = {"left"};
  Run();
  EXPECT_EQ(ran(), Steps("left", "end"));
  EXPECT_EQ(cached(), Steps("a", "right"));
}

TEST_F(SelectTest, OnlyRunsNothingElse) {
  Load(kDiamond);
  Run();
  selection_.only = {"left"};
  selection_.force = {"left"};
  Run();
  EXPECT_EQ(ran(), Steps("left"));
  EXPECT_EQ(cached(), Steps("a"));
}

TEST_F(SelectTest, SeveralLimitsSelectWhatAllOfThemDo) {
  Load(kDiamond);
  Run();
  Set("a.value=w");
  selection_.until = {"left"};
  selection_.from = {"a"};
  Run();
  EXPECT_EQ(ran(), Steps("a", "left"));
  selection_.from = {"right"};
  EXPECT_EQ(Problems(), "--until, --from, --only: together they select no step\n");
}

TEST_F(SelectTest, WhatIsNeededButNotSelectedIsNamedWithItsReason) {
  Load(kDiamond);
  Run();
  Set("a.value=w");
  selection_.only = {"end"};
  EXPECT_EQ(Problems(),
            "a: is needed and would have to run (params.value: \"v\" -> \"w\"), but is not "
            "selected\n");
  selection_.only = {"other"};
  Run();
  EXPECT_EQ(cached(), Steps("other"));
}

TEST_F(SelectTest, WhatLiesBetweenSelectedStepsDoesNotRun) {
  Load(kDiamond);
  Run();
  options_.keep_going = true;
  selection_.only = {"a", "end"};
  selection_.force = {"a"};
  Run();
  EXPECT_EQ(ran(), Steps("a"));
  EXPECT_EQ(cached(), Steps("left", "right", "end"));  // the results of "a" are equal
  Set("a.value=w");
  selection_.force = {};
  Run();
  EXPECT_EQ(ran(), Steps("a"));
  EXPECT_EQ(failed(), Steps("left", "right"));
  EXPECT_EQ(skipped(), Steps("end"));
  EXPECT_EQ(report().steps[Find("left")].message,
            "would have to run (input in changed (a)), but is not selected");
}

TEST_F(SelectTest, AForcedTargetThatIsAlsoADependencyRunsOnce) {
  Load(kDiamond);
  Run();
  selection_.until = {"a", "left", "end"};
  selection_.force = {"a", "left"};
  EXPECT_THAT(Forecasts(), ElementsAre("RUN a: forced", "RUN left: forced",
                                       "WAIT right: waits for a", "WAIT end: waits for left"));
  Run();
  EXPECT_EQ(ran(), Steps("a", "left"));
  EXPECT_EQ(std::count(observer_.lines.begin(), observer_.lines.end(), "start a"), 1);
  EXPECT_EQ(cached(), Steps("right", "end"));  // equal results: the wave stops there
  EXPECT_EQ(observer_.reasons["left"], "forced");
}

TEST_F(SelectTest, ForceAllRunsEverythingSelected) {
  Load(kDiamond);
  Run();
  selection_.force_all = true;
  Run();
  EXPECT_EQ(ran(), Steps("a", "left", "right", "end", "other"));
  selection_.only = {"right"};
  Run();
  EXPECT_EQ(ran(), Steps("right"));
}

TEST_F(SelectTest, ForcingWhatIsNotSelectedIsAnError) {
  Load(kDiamond);
  Run();
  selection_.until = {"left"};
  selection_.force = {"end"};
  EXPECT_EQ(Problems(), "--force end: matches no step selected by --until, --from and --only\n");
  selection_.force = {"*"};
  Run();
  EXPECT_EQ(ran(), Steps("a", "left"));
}

TEST_F(SelectTest, AnAcceptedStepKeepsItsResultUnderTheNewKey) {
  Load(kDiamond);
  Run();
  const std::string old_key = KeyOfStep("right");
  Set("right.separator=;");
  selection_.accept = {"right"};
  EXPECT_THAT(Forecasts(),
              ElementsAre("HIT a", "HIT left", "KEEP right: params.separator: \",\" -> \";\"",
                          "HIT end", "HIT other"));
  EXPECT_EQ(store_->LastKey("right"), old_key);  // looking changes nothing
  Run();
  EXPECT_EQ(ran(), Steps());
  const std::string new_key = KeyOfStep("right");
  EXPECT_NE(new_key, old_key);
  const auto record = RecordJson(report().steps[Find("right")].record);
  EXPECT_EQ(record["accepted"]["key"], old_key);
  EXPECT_EQ(record["accepted"]["change"], "params.separator: \",\" -> \";\"");
  selection_ = {};
  Run();
  EXPECT_EQ(cached(), Steps("a", "left", "right", "end", "other"));
  EXPECT_EQ(TextOf("right"), "v");
}

TEST_F(SelectTest, WhatIsAcceptedKeepsItsFigures) {
  const auto described = [](char digit) {
    RecordDraft record;
    record.key = std::string(64, digit);
    record.step = "s";
    record.kind = record.type = "text";
    record.recipe_json = "{}";
    return record;
  };
  RecordDraft made = described('a');
  made.wall_s = 3;
  made.memory_mib = 7;
  auto draft = store_->Begin();
  Text{"v", ""}.Save(draft->writer());
  draft->Close();
  const Record earlier = store_->Publish(std::move(draft), std::move(made), {});
  const Record kept = AdoptResult(*store_, earlier, described('b'), "why");
  EXPECT_EQ(kept.wall_s, 3);
  EXPECT_EQ(RecordedMemory(kept), uint64_t{7} << 20);
}

TEST_F(SelectTest, AStepIsAcceptedEvenWhenItsInputsRunFirst) {
  Load(kDiamond);
  Run();
  Set("a.value=w");
  selection_.accept = {"left", "right"};
  Run();
  EXPECT_EQ(ran(), Steps("a"));
  EXPECT_EQ(TextOf("left"), "V");
  EXPECT_EQ(cached(), Steps("left", "right", "end", "other"));
  const auto record = RecordJson(report().steps[Find("left")].record);
  EXPECT_EQ(record["accepted"]["change"], "input in changed (a)");
}

TEST_F(SelectTest, AcceptingAStepThatNeverRanRunsIt) {
  Load(kDiamond);
  selection_.accept = {"a"};
  Run();
  EXPECT_EQ(ran().size(), 5u);
  EXPECT_THAT(observer_.warnings, ElementsAre("a: there is no earlier result to accept"));
}

}  // namespace
}  // namespace puzzle::testing
