// Whole runs: what runs, what is cached, what follows from failures.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <stop_token>
#include <thread>

#include "tests/graph/graph_test_fixture.h"
#include "tests/graph/manual_lanes.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

class RunTest : public GraphTest {
 protected:
  /// Position of a line among the events, or a failure.
  ptrdiff_t At(const std::string& line) {
    const auto it = std::find(observer_.lines.begin(), observer_.lines.end(), line);
    EXPECT_NE(it, observer_.lines.end()) << "no event \"" << line << "\"";
    return it - observer_.lines.begin();
  }
};

constexpr const char* kAbc = R"({
  "puzzle": 1,
  "nodes": {
    "a": {"kind": "text", "params": {"value": "x"}},
    "b": {"kind": "text", "params": {"value": "y"}},
    "c": {"kind": "concat", "in": {"parts": ["a", "b"]}}}})";

TEST_F(RunTest, EverythingRunsOnceAndThenNothing) {
  Load(kAbc);
  Run();
  EXPECT_EQ(ran(), Steps("a", "b", "c"));
  EXPECT_EQ(TextOf("c"), "x,y");
  EXPECT_EQ(report().ExitCode(), 0);
  Run();
  EXPECT_EQ(ran(), Steps());
  EXPECT_EQ(cached(), Steps("a", "b", "c"));
  EXPECT_EQ(TextOf("c"), "x,y");
}

TEST_F(RunTest, AChangedParameterRunsItsStepAndWhatDependsOnIt) {
  Load(kAbc);
  Run();
  Set("a.value=z");
  EXPECT_THAT(Forecasts(),
              ElementsAre("RUN a: params.value: \"x\" -> \"z\"", "HIT b", "WAIT c: waits for a"));
  Run();
  EXPECT_EQ(ran(), Steps("a", "c"));
  EXPECT_EQ(observer_.reasons["a"], "params.value: \"x\" -> \"z\"");
  EXPECT_EQ(observer_.reasons["c"], "input parts changed");
  EXPECT_EQ(TextOf("c"), "y,z");
  ClearSettings();
  Run();
  EXPECT_EQ(ran(), Steps());  // the old results are still there
}

TEST_F(RunTest, AnEqualResultStopsTheWaveThere) {
  // A diamond: upper("v") = upper("V"), so that everything below is a hit again.
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "v"}},
    "left": {"kind": "upper", "in": {"in": "a"}},
    "right": {"kind": "count", "in": {"in": "a"}},
    "end": {"kind": "concat", "in": {"parts": ["left"]}},
    "after": {"kind": "concat", "in": {"first": "left", "parts": ["end"]}}}})");
  Run();
  Set("a.value=V");
  EXPECT_THAT(Forecasts()[3], "WAIT end: waits for left");
  Run();
  EXPECT_EQ(ran(), Steps("a", "left", "right"));
  EXPECT_EQ(cached(), Steps("end", "after"));
  EXPECT_THAT(observer_.lines, IsSupersetOf({"cached end", "cached after"}));
}

TEST_F(RunTest, StepsStartOnlyAfterTheirInputs) {
  Load(R"({"puzzle": 1, "nodes": {
    "end": {"kind": "concat", "in": {"parts": ["s"]}},
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 8]}}, "in": {"in": "a"},
          "params": {"value": "${i}"}},
    "a": {"kind": "sleep", "params": {"ms": 5, "value": "a"}}}})");
  Run();
  EXPECT_EQ(ran().size(), 10u);
  for (int i = 0; i < 8; ++i) {
    EXPECT_LT(At("ok a"), At(fmt::format("start s[i={}]", i)));
    EXPECT_LT(At(fmt::format("ok s[i={}]", i)), At("start end"));
  }
}

TEST_F(RunTest, EverythingThatIsReadyIsOfferedAtOnceAndFinishesInAnyOrder) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "sleep", "params": {"value": "a"}},
    "b": {"kind": "sleep", "params": {"value": "b"}},
    "c": {"kind": "sleep", "params": {"value": "c"}},
    "ab": {"kind": "concat", "in": {"parts": ["a", "b"]}},
    "d": {"kind": "sleep", "in": {"in": "ab"}, "params": {"value": "d"}},
    "e": {"kind": "sleep", "in": {"in": "c"}, "params": {"value": "e"}}}})");
  Plan();
  ManualLanes lanes;
  const Forecast forecast = MarkStale(*plan_, *store_);
  Report report;
  std::thread run(
      [&] { report = Execute(*plan_, forecast, *store_, lanes, &observer_, options_); });
  const StepId a = Find("a"), b = Find("b"), c = Find("c"), d = Find("d"), e = Find("e");
  EXPECT_THAT(lanes.WaitFor(3), ElementsAre(a, b, c));
  lanes.Finish(c);
  EXPECT_THAT(lanes.WaitFor(3), ElementsAre(a, b, e));
  lanes.Finish(b);
  lanes.Finish(e);
  EXPECT_THAT(lanes.WaitFor(1), ElementsAre(a));
  lanes.Finish(a);
  lanes.Finish(d);
  run.join();
  EXPECT_EQ(report.Count(Outcome::kOk), 6u);
  EXPECT_LT(At("start e"), At("start a"));
}

TEST_F(RunTest, LanesWorkAtTheSameTime) {
  devices_.assign(4, Device{});
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "sleep", "foreach": {"i": [1, 2, 3, 4]},
           "params": {"ms": 50, "value": "${i}"}}}})");
  Run();
  EXPECT_EQ(playground_.peak, 4);
}

TEST_F(RunTest, NothingRunsBesideAStepThatMeasures) {
  devices_.assign(3, Device{});
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 12]}},
          "params": {"ms": 5, "value": "${i}"}},
    "m": {"kind": "measure", "foreach": {"i": {"range": [0, 3]}}, "params": {"value": "${i}"}},
    "c": {"kind": "concat", "in": {"parts": ["s", "m"]}}}})");
  Run();
  EXPECT_EQ(ran().size(), 16u);
  EXPECT_EQ(playground_.alone_violations, 0);
}

TEST_F(RunTest, NothingRunsBesideAStepThatMeasuresInAnotherRunEither) {
  // Two runs with lanes of their own, as two processes have them; the playground sees both.
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 30]}},
          "params": {"ms": 3, "value": "${i}"}},
    "m": {"kind": "measure", "foreach": {"i": {"range": [0, 6]}}, "params": {"value": "${i}"}}}})");
  Plan();
  std::vector<std::thread> runs;
  for (int i = 0; i < 2; ++i) {
    runs.emplace_back([&] {
      Store store(folder() + "/store", format_);
      store.AnnounceRun();
      LocalLanesOptions options;
      options.devices.assign(2, Device{});
      LocalLanes lanes(std::move(options));
      const Report report =
          Execute(*plan_, MarkStale(*plan_, store), store, lanes, nullptr, options_);
      EXPECT_EQ(report.ExitCode(), 0);
    });
  }
  for (std::thread& run : runs) run.join();
  EXPECT_EQ(playground_.alone_violations, 0);
  EXPECT_GT(playground_.peak, 1) << "what does not measure is computed side by side";
}

TEST_F(RunTest, AFailureEndsTheWaitForWhatAnotherProcessComputes) {
  Load(R"({"puzzle": 1, "nodes": {
    "m": {"kind": "measure", "params": {"value": "v"}},
    "f": {"kind": "fail", "params": {"message": "no luck"}}}})");
  store_->AnnounceRun();
  MachineGate theirs(folder() + "/store/locks");
  ASSERT_TRUE(theirs.TryEnter(/*alone=*/false));
  Run();
  EXPECT_EQ(failed(), Steps("f"));
  EXPECT_EQ(cancelled(), Steps("m"));
}

TEST_F(RunTest, TheLongestRemainingPathGoesFirst) {
  devices_.assign(1, Device{});
  Load(R"({"puzzle": 1, "nodes": {
    "short": {"kind": "sleep", "params": {"value": "s"}},
    "a": {"kind": "sleep", "params": {"value": "a"}},
    "b": {"kind": "sleep", "in": {"in": "a"}, "params": {"value": "b"}},
    "other": {"kind": "sleep", "foreach": {"i": [1, 2, 3]}, "params": {"value": "o${i}", "ms": 20}},
    "c": {"kind": "sleep", "in": {"in": "b"}, "params": {"value": "c"}}}})");
  Plan();
  ReopenStore();
  const Forecast forecast = MarkStale(*plan_, *store_);
  EXPECT_GT(forecast.remaining_s[Find("a")], forecast.remaining_s[Find("b")]);
  EXPECT_GT(forecast.remaining_s[Find("b")], forecast.remaining_s[Find("short")]);
  Run();
  // The lane may take its very first step before all are queued; afterwards a, b, c come first.
  EXPECT_LT(At("start b"),
            std::max({At("start other[i=1]"), At("start other[i=2]"), At("start other[i=3]")}));
}

TEST_F(RunTest, AFailureStopsWhatHasNotBegun) {
  devices_.assign(1, Device{});
  Load(R"({"puzzle": 1, "nodes": {
    "f": {"kind": "fail", "params": {"message": "disk on fire"}},
    "after": {"kind": "upper", "in": {"in": "f"}},
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 20]}},
          "params": {"ms": 10, "value": "${i}"}}}})");
  Run();
  EXPECT_EQ(failed(), Steps("f"));
  EXPECT_EQ(skipped(), Steps("after"));
  EXPECT_GE(cancelled().size(), 15u);
  EXPECT_EQ(report().ExitCode(), 1);
  EXPECT_THAT(observer_.lines,
              IsSupersetOf({"failed f: disk on fire", "skipped after: input f failed"}));
  EXPECT_THAT(FailuresText(*plan_, report(), "puzzle run g.json"),
              HasSubstr("failed: f (kind fail, after 0.0s)\n    disk on fire"));
}

TEST_F(RunTest, KeepGoingSkipsOnlyDescendants) {
  options_.keep_going = true;
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "a"}},
    "f": {"kind": "fail", "in": {"in": "a"}},
    "after": {"kind": "upper", "in": {"in": "f"}},
    "last": {"kind": "concat", "in": {"parts": ["after", "a"]}},
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 10]}}, "params": {"value": "${i}"}},
    "end": {"kind": "concat", "in": {"parts": ["s"]}}}})");
  Run();
  EXPECT_EQ(failed(), Steps("f"));
  EXPECT_EQ(skipped(), Steps("after", "last"));
  EXPECT_EQ(ran().size(), 12u);
  EXPECT_EQ(report().ExitCode(), 1);
  Run();
  EXPECT_EQ(failed(), Steps("f"));  // failures are not remembered
  EXPECT_EQ(ran(), Steps());
}

TEST_F(RunTest, AStreamedResultIsAllOrNothing) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "stream", "params": {"rows": 5}}}})");
  Set("s.fail=true");
  Run();
  EXPECT_EQ(failed(), Steps("s"));
  EXPECT_TRUE(std::filesystem::is_empty(folder() + "/store/tmp"));
  ClearSettings();
  Run();
  EXPECT_EQ(ran(), Steps("s"));
  EXPECT_EQ(store_->Open(report().steps[0].record)->Info("rows").shape, (Shape{5, 2}));
  Run();
  EXPECT_EQ(cached(), Steps("s"));
}

TEST_F(RunTest, StoppingLeavesRunningStepsUnrecordedAndFinishedOnesKept) {
  std::stop_source stop;
  options_.stop = stop.get_token();
  devices_.assign(1, Device{});
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "a"}},
    "s": {"kind": "sleep", "in": {"in": "a"}, "params": {"ms": 60000, "value": "s"}},
    "t": {"kind": "upper", "in": {"in": "s"}}}})");
  observer_.also = [&](const RunEvent& event) {
    if (event.type == RunEvent::Type::kStepStarted && event.step == Find("s")) stop.request_stop();
  };
  Run();
  EXPECT_EQ(ran(), Steps("a"));
  EXPECT_EQ(cancelled(), Steps("s", "t"));
  EXPECT_TRUE(report().interrupted);
  EXPECT_EQ(report().ExitCode(), 130);
  options_.stop = {};
  observer_.also = nullptr;
  Set("s.ms=1");
  Run();
  EXPECT_EQ(cached(), Steps("a"));
  EXPECT_EQ(ran(), Steps("s", "t"));
}

TEST_F(RunTest, InputsOfNeighboursAreLoadedOnce) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "a"}},
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 20]}}, "in": {"in": "a"},
          "params": {"value": "${i}"}}}})");
  Run();
  EXPECT_EQ(playground_.loads, 1);
  options_.resident_bytes = 0;
  Set("a.value=b");
  Run();
  // Again for every step, unless the other lane's holds it at that moment.
  EXPECT_GT(playground_.loads, 11);
  EXPECT_LE(playground_.loads, 21);
}

TEST_F(RunTest, AKindWithoutABodyFailsItsStepOnly) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})");
  Plan();
  NodeKind bare = *registry_->Find("text");
  bare.body = {};
  const Registry tables({bare});
  Diagnostics diagnostics;
  const auto text = std::make_shared<const JsonText>(
      JsonText::Parse(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})", "g"));
  const puzzle::Plan plan = MakePlan(ParseSpec(text, {}, diagnostics), tables, {}, diagnostics);
  LocalLanesOptions lane_options;
  lane_options.devices = {Device{}};
  LocalLanes lanes(std::move(lane_options));
  const Report report = Execute(plan, MarkStale(plan, *store_), *store_, lanes, nullptr, {});
  EXPECT_THAT(report.steps[0].message, HasSubstr("has no body"));
}

TEST_F(RunTest, TheSummaryHoldsCountsAndScalars) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "abc"}},
    "n": {"kind": "count", "in": {"in": "a"}},
    "f": {"kind": "fail"}, "g": {"kind": "upper", "in": {"in": "f"}}}})");
  options_.keep_going = true;
  Run();
  Run();
  const auto summary = nlohmann::json::parse(SummaryJson(*plan_, report()));
  EXPECT_EQ(summary["steps"],
            nlohmann::json::parse(R"({"total":4,"ran":0,"cached":2,"failed":1,"skipped":1})"));
  EXPECT_EQ(summary["results"]["a"]["length"], 3);
  EXPECT_EQ(summary["results"]["a"]["text"], "abc");
  EXPECT_EQ(summary["results"]["n"]["value"], 3);
  EXPECT_FALSE(summary["results"].contains("f"));
  EXPECT_THAT(SummaryLine(report()), HasSubstr("4 steps: 2 cached, 0 run, 1 failed, 1 skipped; "));
}

TEST_F(RunTest, WhatSinksWantToShowIsShownEvenWhenCached) {
  Load(R"({"puzzle": 1, "nodes": {
    "inner": {"kind": "text", "params": {"display": "not me"}},
    "sink": {"kind": "text", "params": {"value": "v", "display": "a\ntable"}},
    "u": {"kind": "upper", "in": {"in": "inner"}}}})");
  Run();
  EXPECT_EQ(DisplayText(*plan_, report()), "\nsink:\na\ntable\n");
  Run();
  EXPECT_EQ(DisplayText(*plan_, report()), "\nsink:\na\ntable\n");
}

TEST_F(RunTest, TenThousandStepsRunAndRerun) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": {"range": [0, 100]}, "j": {"range": [0, 100]}},
          "params": {"value": "${i}-${j}"}},
    "all": {"kind": "concat", "in": {"parts": ["t"]}}}})");
  Run();
  EXPECT_EQ(ran().size(), 10001u);
  Set("t[i=50,j=50].value=new");
  Run();
  EXPECT_EQ(ran(), Steps("t[i=50,j=50]", "all"));
}

/// Random graphs of texts against an evaluator of three lines.
class RandomGraphs : public RunTest {
 protected:
  struct Node {
    std::string kind;
    std::string value;           // of "text"
    std::vector<size_t> inputs;  // of the others
  };

  std::string Json() const {
    nlohmann::ordered_json nodes;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      auto& node = nodes[Name(i)];
      node["kind"] = nodes_[i].kind;
      if (nodes_[i].kind == "text") node["params"]["value"] = nodes_[i].value;
      if (nodes_[i].kind != "text" && nodes_[i].kind != "concat")
        node["in"]["in"] = Name(nodes_[i].inputs[0]);
      if (nodes_[i].kind == "concat") {
        for (const size_t input : nodes_[i].inputs) node["in"]["parts"].push_back(Name(input));
      }
    }
    return nlohmann::ordered_json{{"puzzle", 1}, {"nodes", nodes}}.dump();
  }
  static std::string Name(size_t i) { return "n" + std::to_string(i); }

  /// The text of each node, and what decides it.
  std::vector<std::pair<std::string, std::string>> Evaluate() const {
    std::vector<std::pair<std::string, std::string>> results;
    for (const Node& node : nodes_) {
      std::set<std::string> parts;
      for (const size_t input : node.inputs) parts.insert(results[input].first);
      std::string text =
          node.kind == "text" ? node.value : fmt::format("{}", fmt::join(parts, ","));
      const std::string recipe = node.kind + "|" + text;  // inputs are texts, so this is exact
      if (node.kind == "upper") std::transform(text.begin(), text.end(), text.begin(), ::toupper);
      results.emplace_back(text, recipe + "|" + fmt::format("{}", fmt::join(parts, ";")));
    }
    return results;
  }

  std::vector<Node> nodes_;
};

TEST_F(RandomGraphs, AgreeWithANaiveEvaluatorAfterEveryEdit) {
  std::mt19937 random(7);
  const auto pick = [&](size_t n) { return static_cast<size_t>(random() % n); };
  const std::string letters = "aAbB";
  const std::vector<std::string> kinds = {"text", "upper", "concat", "sleep"};
  make_lanes_ = [&] { return std::make_unique<ShuffledLanes>(random()); };
  for (int round = 0; round < 500; ++round) {
    std::filesystem::remove_all(folder() + "/store");
    nodes_.clear();
    const size_t n = 3 + pick(12);
    for (size_t i = 0; i < n; ++i) {
      Node node{kinds[i < 2 ? 0 : pick(kinds.size())], "", {}};
      if (node.kind == "text") node.value = std::to_string(round) + letters[pick(4)];
      if (node.kind == "upper" || node.kind == "sleep") node.inputs = {pick(i)};
      if (node.kind == "concat") {
        for (size_t k = 0; k < 1 + pick(4); ++k) node.inputs.push_back(pick(i));
      }
      nodes_.push_back(node);
    }
    std::set<std::string> known;
    for (int edit = 0; edit < 3; ++edit) {
      Load(Json());
      Run();
      const auto expected = Evaluate();
      std::set<std::string> fresh, computed;
      for (size_t i = 0; i < n; ++i) {
        EXPECT_EQ(TextOf(Name(i)), expected[i].first) << Json();
        if (!known.contains(expected[i].second)) fresh.insert(expected[i].second);
        if (ran().contains(Name(i))) computed.insert(expected[i].second);
      }
      EXPECT_EQ(computed, fresh) << Json();
      known.insert(fresh.begin(), fresh.end());
      Node& changed = nodes_[pick(n)];
      if (changed.kind == "text") {
        changed.value = std::to_string(round) + letters[pick(4)];
      } else {
        changed.inputs[0] = pick(static_cast<size_t>(&changed - nodes_.data()));
      }
    }
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace puzzle::testing
