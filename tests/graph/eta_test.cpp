// How long a run will still take.
#include "graph/view/eta.h"

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

class EtaTest : public GraphTest {
 protected:
  EtaTest() {
    Load(R"({"puzzle": 1, "nodes": {
      "a": {"kind": "sleep", "foreach": {"i": {"range": [0, 8]}}, "params": {"value": "a${i}"}},
      "b": {"kind": "sleep", "foreach": {"i": {"range": [0, 4]}}, "in": {"in": "a[i=${i}]"},
            "params": {"value": "b"}}}})");
    Plan();
    forecast_ = MarkStale(*plan_, *store_);
    for (StepId id = 0; id < plan_->steps.size(); ++id) {
      forecast_.steps[id].expected_s = plan_->node_name(id) == "a" ? 10 : 30;
      forecast_.steps[id].guessed = false;
    }
  }
  RunEvent Event(RunEvent::Type type, const std::string& step) {
    RunEvent event;
    event.type = type;
    event.has_step = true;
    event.step = Find(step);
    return event;
  }
  void Start(Eta& eta, const std::string& step, double now_s) {
    eta.OnEvent(Event(RunEvent::Type::kStepStarted, step), now_s);
  }
  void Progress(Eta& eta, const std::string& step, double fraction, double now_s,
                double begun = 0) {
    RunEvent event = Event(RunEvent::Type::kProgress, step);
    event.fraction = fraction;
    event.begun = begun;
    eta.OnEvent(event, now_s);
  }
  void Done(Eta& eta, const std::string& step, double wall_s, double now_s) {
    RunEvent event = Event(RunEvent::Type::kStepDone, step);
    event.wall_s = wall_s;
    eta.OnEvent(event, now_s);
  }

  Forecast forecast_;
};

TEST_F(EtaTest, WorkIsSharedByTheLanesUnlessAChainIsLonger) {
  EXPECT_DOUBLE_EQ(Eta(*plan_, forecast_, 2).Total(0), (8 * 10 + 4 * 30) / 2.0);
  EXPECT_DOUBLE_EQ(Eta(*plan_, forecast_, 100).Total(0), 10 + 30);
}

TEST_F(EtaTest, WhatRunsCountsByItsTimeOrByItsOwnProgress) {
  Eta eta(*plan_, forecast_, 1);
  Start(eta, "a[i=0]", 100);
  EXPECT_DOUBLE_EQ(eta.Total(104), 200 - 4);
  EXPECT_DOUBLE_EQ(eta.Node(0, 104), 80 - 4);
  EXPECT_DOUBLE_EQ(eta.Total(150), 200 - 10);  // later than expected, but never negative
  Progress(eta, "a[i=0]", 0.25, 150);
  EXPECT_DOUBLE_EQ(eta.Total(150), 200 - 10 + 150);
}

TEST_F(EtaTest, WhatASavePointHadCostsNoTimeNow) {
  Eta eta(*plan_, forecast_, 1);
  Start(eta, "a[i=0]", 100);
  Progress(eta, "a[i=0]", 0.75, 101, /*begun=*/0.75);
  EXPECT_DOUBLE_EQ(eta.Total(101), 190 + 10 * 0.25 - 1);
  Progress(eta, "a[i=0]", 0.875, 104, /*begun=*/0.75);
  EXPECT_DOUBLE_EQ(eta.Total(104), 190 + 4);  // the second half takes as long as the first one
  Done(eta, "a[i=0]", 5, 105);                // twice as long as a quarter should have taken
  EXPECT_DOUBLE_EQ(eta.Node(1, 105), 4 * 30 * 2.0);
}

TEST_F(EtaTest, WhatThisRunMeasuresCorrectsTheRestOfItsNodeAndTheOthers) {
  Eta eta(*plan_, forecast_, 1);
  for (const char* step : {"a[i=0]", "a[i=1]", "a[i=2]"}) {
    Start(eta, step, 0);
    Done(eta, step, 20, 0);  // twice as long
  }
  // Three measured, the past counts like one more: (60 + 10) / (30 + 10). Node b has no
  // measurement of its own and takes what the others had: 60 / 30.
  EXPECT_DOUBLE_EQ(eta.Node(0, 0), 5 * 10 * 70.0 / 40.0);
  EXPECT_DOUBLE_EQ(eta.Node(1, 0), 4 * 30 * 2.0);
}

TEST_F(EtaTest, AGuessIsForgottenWithTheFirstMeasurement) {
  for (StepForecast& step : forecast_.steps) step.guessed = true;
  Eta eta(*plan_, forecast_, 1);
  Start(eta, "a[i=0]", 0);
  Done(eta, "a[i=0]", 70, 70);
  EXPECT_DOUBLE_EQ(eta.Node(0, 70), 7 * 70.0);
  EXPECT_DOUBLE_EQ(eta.Node(1, 70), 4 * 30.0);
}

TEST_F(EtaTest, AStepThatIsTriedAgainIsStillToBeDone) {
  Eta eta(*plan_, forecast_, 1);
  Start(eta, "a[i=0]", 0);
  eta.OnEvent(Event(RunEvent::Type::kStepRetried, "a[i=0]"), 5);
  EXPECT_DOUBLE_EQ(eta.Total(5), 200);
}

TEST_F(EtaTest, FoundResultsAndSkippedStepsLeaveNothing) {
  forecast_.steps[Find("a[i=7]")].fate = Fate::kHit;
  Eta eta(*plan_, forecast_, 1);
  EXPECT_DOUBLE_EQ(eta.Total(0), 190);
  RunEvent skipped = Event(RunEvent::Type::kStepDone, "b[i=3]");
  skipped.outcome = Outcome::kSkipped;
  eta.OnEvent(skipped, 0);
  EXPECT_DOUBLE_EQ(eta.Total(0), 160);
}

}  // namespace
}  // namespace puzzle::testing
