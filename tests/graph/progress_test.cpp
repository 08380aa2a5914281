// What a run looks like.
#include "graph/view/progress.h"

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ProgressTest : public GraphTest {
 protected:
  ProgressTest() {
    progress_.write = [this](const std::string& text) {
      written_ += text;
      ++writes_;
    };
    progress_.clock = [this] { return now_s_; };
  }

  /// Runs with a view that sees every event.
  void Watch(ProgressView& view) {
    observer_.also = [&](const RunEvent& event) {
      now_s_ += step_s_;
      view.OnEvent(event);
    };
    Run();
    observer_.also = nullptr;
  }

  ProgressOptions progress_;
  std::string written_;
  int writes_ = 0;
  double now_s_ = 0;
  double step_s_ = 1;
};

constexpr const char* kProgressGraph = R"({"puzzle": 1, "nodes": {
  "t": {"kind": "text", "foreach": {"i": [1, 2, 3, 4]}, "params": {"value": "${i}"}},
  "s": {"kind": "sleep", "in": {"in": "t[i=1]"}, "params": {"ms": 1}},
  "f": {"kind": "fail", "params": {"message": "no luck"}},
  "u": {"kind": "upper", "in": {"in": "f"}}}})";

TEST_F(ProgressTest, PlainLinesSayWhatHappensWithoutControlCodes) {
  options_.keep_going = true;
  Load(kProgressGraph);
  const auto view = MakePlainView(progress_);
  Watch(*view);
  EXPECT_THAT(written_, Not(HasSubstr("\x1b")));
  EXPECT_THAT(written_, Not(HasSubstr("\r")));
  EXPECT_THAT(written_, HasSubstr("start   t[i=1] on host  (missing)\n"));
  EXPECT_THAT(written_, HasSubstr("start   s on cpu#"));
  EXPECT_THAT(written_, HasSubstr("done    s "));
  EXPECT_THAT(written_, HasSubstr("FAILED  f after 0.0s: no luck\n"));
  EXPECT_THAT(written_, HasSubstr("skipped u: input f failed\n"));
}

TEST_F(ProgressTest, PlainLinesMentionLongStepsNowAndThen) {
  Load(kProgressGraph);
  Plan();
  const auto view = MakePlainView(progress_);
  Forecast forecast = MarkStale(*plan_, *store_);
  RunEvent event;
  event.plan = &*plan_;
  event.forecast = &forecast;
  view->OnEvent(event);
  event.type = RunEvent::Type::kStepStarted;
  event.has_step = true;
  event.step = Find("s");
  event.lane = "cpu#0";
  view->OnEvent(event);
  event.type = RunEvent::Type::kProgress;
  event.fraction = 0.25;
  event.note = "loss .0132";
  view->OnEvent(event);
  written_.clear();
  now_s_ = 9;
  view->Tick();
  EXPECT_EQ(written_, "");
  now_s_ = 11;
  view->Tick();
  view->Tick();
  EXPECT_EQ(written_, "running s 11s, 25%, loss .0132\n");
}

TEST_F(ProgressTest, ATerminalShowsOneLinePerNodeRewrittenInPlace) {
  options_.keep_going = true;
  Load(kProgressGraph);
  const auto view = MakeTerminalView(progress_);
  Watch(*view);
  EXPECT_THAT(written_, HasSubstr("t      [################]  4/4\n"));
  EXPECT_THAT(written_, HasSubstr("f      [################]  1/1  failed 1\n"));
  EXPECT_THAT(written_, HasSubstr("\x1b[5A\x1b[J"));
  EXPECT_THAT(written_, HasSubstr("total  [################]  7/7\n"));
  EXPECT_THAT(written_, HasSubstr("failed: f: no luck\n"));
}

TEST_F(ProgressTest, ATerminalLineHasCountsEtaAndTheLongestStepWithItsNote) {
  Load(R"({"puzzle": 1, "nodes": {
    "parent": {"kind": "text"},
    "bld": {"kind": "sleep",
            "foreach": {"layer": {"range": [0, 24]},
                        "variant": ["attn:kv1", "attn:none", "ffn:50%", "ffn:none"]},
            "in": {"in": "parent"}, "params": {"value": "${layer} ${variant}"}}}})");
  Plan();
  Forecast forecast = MarkStale(*plan_, *store_);
  const StepId first = plan_->nodes[1].first;
  for (StepId id = first; id < first + 96; ++id) {
    forecast.steps[id].fate = id < first + 40 ? Fate::kHit : Fate::kWait;
    forecast.steps[id].expected_s = 12.26;
    forecast.steps[id].guessed = false;
  }
  progress_.width = [] { return 120; };
  const auto view = MakeTerminalView(progress_);
  RunEvent event;
  event.plan = &*plan_;
  event.forecast = &forecast;
  event.lanes = 2;
  view->OnEvent(event);
  event.has_step = true;
  const auto tell = [&](RunEvent::Type type, StepId step) {
    event.type = type;
    event.step = step;
    view->OnEvent(event);
  };
  const StepId longest = Find("bld[layer=15,variant=attn:none]");
  tell(RunEvent::Type::kStepStarted, longest);
  event.note = "loss .0132";
  event.fraction = 0;
  tell(RunEvent::Type::kProgress, longest);
  event.wall_s = 12.26;
  for (StepId id = first + 40; id < first + 40 + 25; ++id) {
    if (id == longest) continue;
    tell(RunEvent::Type::kStepStarted, id);
    tell(RunEvent::Type::kStepDone, id);
  }
  now_s_ = 41;
  written_.clear();
  tell(RunEvent::Type::kStepStarted, first + 90);
  EXPECT_THAT(written_,
              HasSubstr("bld     [###########-----]  64/96  cached 40  running 2  eta 3m10s   "
                        "(bld[layer=15,variant=attn:none] 41s, loss .0132)\n"));
}

TEST_F(ProgressTest, ATerminalIsRewrittenAtMostTenTimesASecond) {
  step_s_ = 0.001;
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach": {"i": {"range": [0, 100]}},
           "params": {"value": "${i}"}}}})");
  const auto view = MakeTerminalView(progress_);
  Watch(*view);
  EXPECT_LE(writes_, 5);
}

TEST_F(ProgressTest, LinesFitTheTerminal) {
  progress_.width = [] { return 30; };
  Load(kProgressGraph);
  const auto view = MakeTerminalView(progress_);
  Watch(*view);
  size_t column = 0;
  for (size_t i = 0; i < written_.size(); ++i) {
    if (written_[i] == '\x1b') {
      while (!isalpha(written_[i])) ++i;
      continue;
    }
    column = written_[i] == '\n' ? 0 : column + 1;
    EXPECT_LT(column, 40u);
  }
}

TEST_F(ProgressTest, NothingToDoIsSilent) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text"}}})");
  Run();
  const auto terminal = MakeTerminalView(progress_);
  Watch(*terminal);
  const auto plain = MakePlainView(progress_);
  Watch(*plain);
  EXPECT_EQ(written_, "");
}

}  // namespace
}  // namespace puzzle::testing
