// Where each step was when, and what is drawn from it.
#include "graph/view/timeline.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/view/timeline_svg.h"
#include "graph/view/trace.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"
#include "tests/graph/xml_check.h"

namespace puzzle::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kTimelineGraph = R"({"puzzle": 1, "nodes": {
  "t": {"kind": "text", "foreach": {"i": [1, 2, 3]}, "params": {"value": "${i} <&>"}},
  "s": {"kind": "sleep", "foreach": {"i": [1, 2, 3]}, "in": {"in": "t[i=${i}]"},
        "params": {"value": "s${i}", "ms": 4}},
  "all": {"kind": "concat", "in": {"parts": ["s"]}},
  "f": {"kind": "fail", "in": {"in": "all"}, "params": {"message": "a \"bad\" <end>"}}}})";

class TimelineTest : public GraphTest {
 protected:
  void Record() {
    TimelineRecorder recorder;
    observer_.also = [&](const RunEvent& event) { recorder.OnEvent(event); };
    Run();
    observer_.also = nullptr;
    timeline_ = recorder.Take();
  }
  std::vector<Span> SpansOf(const std::string& step) const {
    std::vector<Span> spans;
    for (const Span& span : timeline_.spans) {
      if (plan_->steps[span.step].name == step) spans.push_back(span);
    }
    return spans;
  }
  const Timeline::Row& RowOf(const Span& span) const { return timeline_.rows[span.row]; }

  Timeline timeline_;
};

TEST_F(TimelineTest, StepsAreOnTheirLanesAndResultsAreSavedBesides) {
  Load(kTimelineGraph);
  Record();
  for (const Span& span : SpansOf("s[i=1]")) {
    const bool saving = span.type == Span::Type::kSaving;
    EXPECT_EQ(RowOf(span).type, saving ? Timeline::Row::Type::kSaving : Timeline::Row::Type::kLane);
    EXPECT_EQ(span.outcome, Outcome::kOk);
    EXPECT_TRUE(saving || span.end_s - span.begin_s > 0.003);
    EXPECT_TRUE(saving || span.note == "missing");
  }
  EXPECT_EQ(SpansOf("s[i=1]").size(), 2u);
  EXPECT_EQ(RowOf(SpansOf("t[i=1]")[0]).type, Timeline::Row::Type::kHost);
  ASSERT_EQ(SpansOf("f").size(), 1u);
  EXPECT_EQ(SpansOf("f")[0].outcome, Outcome::kFailed);
  EXPECT_EQ(SpansOf("f")[0].note, "a \"bad\" <end>");
}

TEST_F(TimelineTest, FoundResultsAreMomentsAlsoWhenFoundLate) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "v"}},
    "b": {"kind": "upper", "in": {"in": "a"}},
    "c": {"kind": "concat", "in": {"parts": ["b"]}}}})");
  Run();
  Set("a.value=V");
  Record();
  const auto spans = SpansOf("c");
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].type, Span::Type::kCached);
  EXPECT_EQ(RowOf(spans[0]).name, "cached");
  EXPECT_GT(spans[0].begin_s, 0);
  EXPECT_EQ(spans[0].begin_s, spans[0].end_s);
}

TEST_F(TimelineTest, SpansOfARowDoNotOverlap) {
  devices_.assign(3, Device{});
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": {"range": [0, 60]}}, "params": {"value": "${i}"}},
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 60]}}, "in": {"in": "t[i=${i}]"},
          "params": {"value": "${i}"}}}})");
  Record();
  for (size_t i = 1; i < timeline_.spans.size(); ++i) {
    const Span& before = timeline_.spans[i - 1];
    const Span& span = timeline_.spans[i];
    EXPECT_LE(before.row, span.row);
    if (before.row == span.row) {
      EXPECT_LE(before.end_s, span.begin_s);
    }
  }
  EXPECT_EQ(timeline_.spans.size(), 4 * 60u);
}

TEST_F(TimelineTest, AnAttemptInVainIsASpanOfItsOwn) {
  Load(kTimelineGraph);
  std::atomic<int> thrown{0};
  playground_.on_start = [&](const std::string& what) {
    if (what == "sleep s2" && thrown++ == 0) throw std::bad_alloc();
  };
  Record();
  const auto spans = SpansOf("s[i=2]");
  EXPECT_EQ(spans.size(), 3u);
  const auto vain = std::find_if(spans.begin(), spans.end(), [](const Span& span) {
    return span.type == Span::Type::kRetried;
  });
  ASSERT_NE(vain, spans.end());
  EXPECT_EQ(vain->note, "out of memory");
}

/// The trace, taken apart and checked for what the format asks.
class TraceTest : public TimelineTest {
 protected:
  void Parse() {
    const json trace = json::parse(TraceJson(*plan_, timeline_));
    std::map<int64_t, double> end;  // by track
    for (const json& event : trace["traceEvents"]) {
      const std::string phase = event["ph"];
      if (phase == "M" && event["name"] == "thread_name") {
        tracks_[event["tid"]] = event["args"]["name"];
      }
      if (phase == "X") {
        EXPECT_TRUE(tracks_.contains(event["tid"]));
        EXPECT_GE(event["dur"].get<double>(), 0);
        EXPECT_GE(event["ts"].get<double>(), end[event["tid"]] - 0.002);  // rounded to a nanosecond
        end[event["tid"]] = event["ts"].get<double>() + event["dur"].get<double>();
        slices_.push_back(event);
      }
      EXPECT_TRUE(phase != "s" || starts_.emplace(event["id"], event).second);
      EXPECT_TRUE(phase != "f" || ends_.emplace(event["id"], event).second);
    }
  }
  /// The slice that an arrow is bound to at one end.
  std::string SliceAt(const json& arrow) const {
    for (const json& slice : slices_) {
      const double ts = arrow["ts"], begin = slice["ts"], dur = slice["dur"];
      if (slice["tid"] == arrow["tid"] && begin <= ts && ts <= begin + dur) return slice["name"];
    }
    return "none";
  }

  std::map<int64_t, std::string> tracks_;
  std::vector<json> slices_;
  std::map<int64_t, json> starts_, ends_;
};

TEST_F(TraceTest, TracksSlicesAndArrowsSayWhatHappened) {
  Load(kTimelineGraph);
  Record();
  Parse();
  std::set<std::string> names;
  for (const auto& [tid, name] : tracks_) names.insert(name);
  EXPECT_THAT(names, ::testing::IsSupersetOf({"host", "saving"}));
  EXPECT_TRUE(names.contains("cpu#0") || names.contains("cpu#1"));
  const auto failed = std::find_if(slices_.begin(), slices_.end(),
                                   [](const json& slice) { return slice["name"] == "f"; });
  ASSERT_NE(failed, slices_.end());
  EXPECT_EQ((*failed)["args"], json::parse(R"({"node": "f", "kind": "fail", "outcome": "failed",
                            "note": "a \"bad\" <end>"})"));
  // One arrow per edge: 3 into s, 3 into all, 1 into f.
  std::multiset<std::string> arrows;
  ASSERT_EQ(starts_.size(), ends_.size());
  for (const auto& [id, start] : starts_) {
    const json& end = ends_.at(id);
    EXPECT_LE(start["ts"].get<double>(), end["ts"].get<double>());
    EXPECT_EQ(end["bp"], "e");
    arrows.insert(SliceAt(start) + " -> " + SliceAt(end));
  }
  EXPECT_EQ(arrows, (std::multiset<std::string>{"t[i=1] -> s[i=1]", "t[i=2] -> s[i=2]",
                                                "t[i=3] -> s[i=3]", "s[i=1] -> all",
                                                "s[i=2] -> all", "s[i=3] -> all", "all -> f"}));
}

TEST_F(TraceTest, FoundResultsAreMarkedAndCarryArrows) {
  Load(kTimelineGraph);
  Run();
  Set("all.separator=;");
  Record();
  Parse();
  std::set<std::string> cached;
  for (const json& slice : slices_) {
    if (slice["cat"] != "cached") continue;
    EXPECT_EQ(tracks_[slice["tid"]], "cached");
    cached.insert(slice["name"]);
  }
  EXPECT_EQ(cached, Steps("t[i=1]", "t[i=2]", "t[i=3]", "s[i=1]", "s[i=2]", "s[i=3]"));
  EXPECT_EQ(starts_.size(), 4u);
  EXPECT_EQ(SliceAt(starts_.begin()->second), "s[i=1]");
}

TEST_F(TimelineTest, ThePictureIsWellFormedAndShowsTheSteps) {
  Load(kTimelineGraph);
  Record();
  const std::string svg = TimelineSvg(*plan_, timeline_, CriticalPath(*plan_, report()));
  EXPECT_EQ(XmlMistake(svg), "");
  EXPECT_THAT(svg, HasSubstr("host</text>"));
  EXPECT_THAT(svg, HasSubstr("<title>f: 0.0s, failed\na &quot;bad&quot; &lt;end&gt;</title>"));
  EXPECT_THAT(svg, HasSubstr("critical path"));
  EXPECT_THAT(svg, HasSubstr("stroke=\"#c00\""));
}

TEST_F(TimelineTest, ThePictureOfManyStepsStaysSmall) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": {"range": [0, 30000]}}, "params": {"value": "${i}"}},
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 30000]}}}}})");
  Plan();
  Timeline timeline;
  timeline.rows = {{Timeline::Row::Type::kLane, "cpu#0"}, {Timeline::Row::Type::kCached, "cached"}};
  for (StepId id = 0; id < 30000; ++id) {
    timeline.spans.push_back(
        {Span::Type::kComputing, id, 0, id * 0.001, id * 0.001 + 0.0009, Outcome::kOk, ""});
  }
  for (StepId id = 30000; id < 60000; ++id) {
    timeline.spans.push_back({Span::Type::kCached, id, 1, 0, 0, Outcome::kCached, ""});
  }
  timeline.end_s = 30;
  const std::string svg = TimelineSvg(*plan_, timeline, {});
  EXPECT_LT(svg.size(), 60'000u);
  EXPECT_EQ(XmlMistake(svg), "");
  EXPECT_THAT(svg, HasSubstr("<title>30000 results found</title>"));
}

TEST_F(TimelineTest, AnEmptyRunCanBeDrawnToo) {
  Load(R"({"puzzle": 1, "nodes": {}})");
  Record();
  EXPECT_EQ(XmlMistake(TimelineSvg(*plan_, timeline_, {})), "");
  EXPECT_TRUE(json::parse(TraceJson(*plan_, timeline_)).contains("traceEvents"));
}

TEST(XmlCheckTest, FindsMistakes) {
  EXPECT_EQ(XmlMistake("<a b=\"1\"><c/>x &lt; y</a>"), "");
  for (const char* bad : {"<a>", "<a></b>", "<a b=1/>", "<a b=\"1\" b=\"2\"/>", "<a/><b/>", "x<a/>",
                          "<a>&nbsp;</a>", "<a b=\"<\"/>", "<a b=\"1/>"}) {
    EXPECT_NE(XmlMistake(bad), "") << bad;
  }
}

}  // namespace
}  // namespace puzzle::testing
