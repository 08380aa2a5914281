// A run as lines of JSON.
#include "graph/view/events.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using nlohmann::json;

class EventsTest : public GraphTest {
 protected:
  /// Runs; every line parsed.
  std::vector<json> Events() {
    std::string text;
    EventWriter writer([&](const std::string& line) {
      EXPECT_EQ(line.find('\n'), line.size() - 1);
      text += line;
    });
    observer_.also = [&](const RunEvent& event) { writer.OnEvent(event); };
    Run();
    observer_.also = nullptr;
    std::vector<json> events;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) events.push_back(json::parse(line));
    return events;
  }
  /// The first event of that name about that step.
  static json Of(const std::vector<json>& events, const std::string& name,
                 const std::string& step) {
    for (const json& event : events) {
      if (event["event"] == name && event.value("step", "") == step) return event;
    }
    return {};
  }
};

TEST_F(EventsTest, EveryEventIsALineWithTimeAndWhatItIsAbout) {
  options_.keep_going = true;
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "quotes \" and ü"}},
    "s": {"kind": "sleep", "in": {"in": "t"}, "params": {"ms": 250}},
    "f": {"kind": "fail", "params": {"message": "no\nluck"}},
    "u": {"kind": "upper", "in": {"in": "f"}}}})");
  const std::vector<json> events = Events();
  ASSERT_GE(events.size(), 10u);
  EXPECT_EQ(events.front()["event"], "run_started");
  EXPECT_EQ(events.front()["format"], 1);
  EXPECT_EQ(events.front()["steps"], 4);
  EXPECT_EQ(events.front()["lanes"], 2);
  double before = 0;
  for (const json& event : events) {
    EXPECT_GE(event["t"].get<double>(), before);
    before = event["t"];
  }
  const json started = Of(events, "step_started", "s");
  EXPECT_EQ(started["kind"], "sleep");
  EXPECT_EQ(started["reason"], "missing");
  EXPECT_TRUE(started["lane"].get<std::string>().starts_with("cpu#"));
  EXPECT_EQ(Of(events, "step_progress", "s")["note"], "zzz 0.25");
  EXPECT_EQ(Of(events, "step_progress", "s")["fraction"], 0.5);
  EXPECT_FALSE(Of(events, "step_saving", "s").is_null());
  EXPECT_EQ(Of(events, "step_done", "s")["outcome"], "ok");
  EXPECT_GE(Of(events, "step_done", "s")["wall_s"], 0.2);
  EXPECT_EQ(Of(events, "step_done", "f")["message"], "no\nluck");
  EXPECT_EQ(Of(events, "step_done", "u")["outcome"], "skipped");
  EXPECT_EQ(events.back()["event"], "run_done");
  EXPECT_EQ(events.back()["ok"], 2);
  EXPECT_EQ(events.back()["failed"], 1);
  EXPECT_EQ(events.back()["skipped"], 1);
  EXPECT_EQ(events.back()["exit"], 1);
}

TEST_F(EventsTest, WhatWasThereFromTheStartIsNamedToo) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "a"}},
    "b": {"kind": "upper", "in": {"in": "a"}}}})");
  Run();
  const std::vector<json> events = Events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[1]["step"], "a");
  EXPECT_EQ(events[1]["outcome"], "cached");
  EXPECT_EQ(events[2]["step"], "b");
  EXPECT_EQ(events[3]["cached"], 2);
}

TEST_F(EventsTest, WarningsAreEvents) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "a"}}}})");
  Run();
  ASSERT_EQ(::unlink(FileOf("a").c_str()), 0);
  const json warning = Events()[1];
  EXPECT_EQ(warning["event"], "warning");
  EXPECT_THAT(warning["message"].get<std::string>(),
              ::testing::HasSubstr("a: artifact file missing"));
}

}  // namespace
}  // namespace puzzle::testing
