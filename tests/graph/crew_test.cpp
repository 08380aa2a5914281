// The front's view of several workers: their lines in, events and one report out.
#include "graph/crew/crew.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

double SecondsSince1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class CrewTest : public GraphTest {
 protected:
  void Begin(const std::string& graph, bool keep_going = false, size_t hosts = 1) {
    Load(graph);
    Plan();
    forecast_ = MarkStale(*plan_, *store_);
    crew_ = std::make_unique<Crew>(*plan_, forecast_, &observer_,
                                   Crew::Options{keep_going, "1.0", hosts});
    crew_->Begin(2);
  }
  void Hello(const std::string& worker, const std::string& host, int64_t pid,
             const std::string& tool = "1.0", const std::string& mark = "", double ahead_s = 0) {
    Line(worker, HelloLine({host, "process " + std::to_string(pid) + " on " + host, tool,
                            mark.empty() ? PlanMark(*plan_) : mark, SecondsSince1970() + ahead_s}));
  }
  void Line(const std::string& worker, const std::string& text) { crew_->TakeLine(worker, text); }
  void Started(const std::string& worker, const std::string& step) {
    Line(worker, json{{"event", "step_started"}, {"step", step}, {"lane", "cpu#0"}}.dump());
  }
  /// Publishes a result as a worker does, and says so.
  void Ok(const std::string& worker, const std::string& step) {
    const std::string key = Publish(step);
    Line(worker, json{{"event", "step_done"},
                      {"step", step},
                      {"outcome", "ok"},
                      {"wall_s", 0.5},
                      {"key", key}}
                     .dump());
  }
  void Cached(const std::string& worker, const std::string& step, const std::string& key) {
    Line(worker,
         json{{"event", "step_done"}, {"step", step}, {"outcome", "cached"}, {"key", key}}.dump());
  }
  void Failed(const std::string& worker, const std::string& step, const std::string& message) {
    Line(worker,
         json{{"event", "step_done"}, {"step", step}, {"outcome", "failed"}, {"message", message}}
             .dump());
  }
  std::string KeyToPublish(const std::string& step) const {
    return std::string(60, 'a') + std::to_string(1000 + Find(step));
  }
  std::string Publish(const std::string& step) {
    RecordDraft record;
    record.key = KeyToPublish(step);
    record.step = step;
    record.kind = record.type = "text";
    record.recipe_json = "{}";
    auto draft = store_->Begin();
    Text{step, ""}.Save(draft->writer());
    draft->Close();
    return std::string(store_->Publish(std::move(draft), std::move(record), {}).key);
  }
  Report Finish(bool interrupted = false) { return crew_->Finish(*store_, interrupted); }
  const StepResult& Of(const Report& report, const std::string& step) const {
    return report.steps[Find(step)];
  }

  Forecast forecast_;
  std::unique_ptr<Crew> crew_;
};

constexpr const char* kThree = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "va"}},
  "b": {"kind": "text", "params": {"value": "vb"}},
  "all": {"kind": "concat", "in": {"parts": ["a", "b"]}}}})";

TEST(WorkerLineTest, NumbersOutOfRangeAreCutAndOtherTypesAreNoEvent) {
  const auto event = ParseWorkerEvent(
      R"({"event": "step_done", "fraction": 7.5, "wall_s": -3, "memory_mib": 1e300})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->fraction, 1);
  EXPECT_EQ(event->wall_s, 0);
  EXPECT_EQ(event->memory_mib, 1e9);
  EXPECT_EQ(ParseWorkerEvent(R"({"event": "step_progress", "fraction": 0.25})")->fraction, 0.25);
  EXPECT_EQ(ParseWorkerEvent(R"({"event": "step_progress", "begun": 0.25})")->begun, 0.25);
  for (const char* line : {R"({"event": "step_done", "wall_s": "1"})", R"({"event": 1})", "[]",
                           R"({"wall_s": 1})", R"({"event": "step_done", "key": null})", ""})
    EXPECT_FALSE(ParseWorkerEvent(line)) << line;
}

TEST_F(CrewTest, LinesOfTwoWorkersBecomeOneRun) {
  Begin(kThree);
  Hello("local#1", "n1", 11);
  Hello("local#2", "n1", 12);
  Started("local#1", "a");
  Started("local#2", "b");
  Line("local#2", R"({"event":"step_waits","step":"a","for":"process 11 on n1"})");
  Ok("local#1", "a");
  Cached("local#2", "a", "k");
  Ok("local#2", "b");
  Started("local#2", "all");
  Ok("local#2", "all");
  for (const char* worker : {"local#1", "local#2"}) Line(worker, R"({"event":"run_done"})");
  EXPECT_TRUE(crew_->Complete());
  EXPECT_TRUE(crew_->IsDone("local#1"));
  const Report report = Finish();
  EXPECT_THAT(observer_.lines, ElementsAre("run", "start a", "start b", "ok a", "ok b", "start all",
                                           "ok all", "done"));
  EXPECT_EQ(observer_.lanes["a"], "local#1 on n1 cpu#0");
  EXPECT_EQ(report.ExitCode(), 0);
  EXPECT_EQ(report.Count(Outcome::kOk), 3u);
  EXPECT_EQ(Of(report, "b").worker, "local#2 on n1");
  EXPECT_EQ(Of(report, "b").record.step, "b");
  EXPECT_THAT(report.warnings, IsEmpty());
}

TEST_F(CrewTest, AWorkerThatIsLostIsNamedAndItsStepsAreOpenAgain) {
  Begin(kThree);
  Hello("local#1", "n1", 11);
  Hello("local#2", "n2", 12);
  Started("local#1", "a");
  crew_->Leave("local#1", "killed by signal 9");
  EXPECT_THAT(
      observer_.warnings,
      ElementsAre("LOST local#1 on n1 (process 11 on n1): killed by signal 9; left to others: a"));
  Started("local#2", "a");
  for (const char* step : {"a", "b", "all"}) Ok("local#2", step);
  crew_->Leave("local#1", "twice");
  const Report report = Finish();
  EXPECT_EQ(report.ExitCode(), 0);
  EXPECT_EQ(Of(report, "a").worker, "local#2 on n2");
  EXPECT_EQ(observer_.warnings.size(), 1u) << "said once";
}

TEST_F(CrewTest, AStepAtWhichWorkersAreLostAgainAndAgainHasFailed) {
  Begin(kThree, /*keep_going=*/true);
  for (int i = 1; i <= 5; ++i) {
    EXPECT_FALSE(crew_->IsHopeless("local#1"));
    Hello("local#1", "n1", i);
    Started("local#1", "a");
    crew_->Leave("local#1", "killed by signal 9");
  }
  EXPECT_EQ(observer_.lines.back(),
            "failed a: on n1: 5 workers were lost while they were at it, the last one so: "
            "killed by signal 9");
  EXPECT_TRUE(crew_->IsHopeless("local#1")) << "it would be lost again";
  Hello("local#2", "n1", 9);
  Ok("local#2", "b");
  Started("local#2", "a");
  crew_->Leave("local#2", "killed by signal 9");
  EXPECT_TRUE(crew_->IsHopeless("local#2"));
  const Report report = Finish();
  EXPECT_EQ(report.ExitCode(), 1);
  EXPECT_EQ(Of(report, "a").outcome, Outcome::kFailed);
  EXPECT_EQ(Of(report, "b").outcome, Outcome::kOk);
  EXPECT_EQ(Of(report, "all").outcome, Outcome::kSkipped);
}

TEST_F(CrewTest, AStepThatGetsFurtherEachTimeMayCostManyWorkers) {
  Begin(kThree, /*keep_going=*/true);
  for (int i = 1; i <= 12; ++i) {
    Hello("local#1", "n1", i);
    Started("local#1", "a");
    const double begun = 0.25 * (i / 4);  // a save point is left by every fourth
    Line("local#1",
         json{{"event", "step_progress"}, {"step", "a"}, {"fraction", 0.9}, {"begun", begun}}
             .dump());
    crew_->Leave("local#1", "killed by signal 9");
    EXPECT_FALSE(crew_->IsHopeless("local#1")) << i;
  }
}

TEST_F(CrewTest, AWorkerThatIsDoneIsNotLost) {
  Begin(kThree);
  Hello("local#1", "n1", 11);
  Line("local#1", R"({"event":"run_done"})");
  crew_->Leave("local#1", "it ended with status 0");
  EXPECT_THAT(observer_.warnings, IsEmpty());
}

TEST_F(CrewTest, AFailureOnOneHostIsLeftToTheOthers) {
  Begin(kThree, false, 2);
  Hello("w#1", "n1", 11);
  Started("w#1", "a");
  Failed("w#1", "a", "No space left on device");
  Hello("w#2", "n2", 12);  // it begins later than the first one fails
  Started("w#1", "b");
  Failed("w#1", "b", "No space left on device");
  EXPECT_FALSE(crew_->Failed());
  EXPECT_THAT(observer_.warnings,
              ElementsAre("a: failed on n1: No space left on device; left to other hosts"));
  for (const char* step : {"a", "b", "all"}) Ok("w#2", step);
  const Report report = Finish();
  EXPECT_EQ(report.ExitCode(), 0);
}

TEST_F(CrewTest, AFailureOnTwoHostsIsOne) {
  Begin(kThree, false, 2);
  Hello("w#1", "n1", 11);
  Hello("w#2", "n2", 12);
  Failed("w#1", "a", "of n1");
  Failed("w#2", "a", "of n2");
  EXPECT_TRUE(crew_->Failed());
  Ok("w#2", "b");
  const Report report = Finish();
  EXPECT_EQ(report.ExitCode(), 1);
  EXPECT_EQ(Of(report, "a").outcome, Outcome::kFailed);
  EXPECT_EQ(Of(report, "a").message, "on n1: of n1; on n2: of n2");
  EXPECT_EQ(Of(report, "all").outcome, Outcome::kSkipped);
  EXPECT_EQ(Of(report, "b").outcome, Outcome::kOk);
}

TEST_F(CrewTest, WhereThereIsOneHostAFailureIsOneAtOnce) {
  Begin(kThree);
  Hello("w#1", "n1", 11);
  Hello("w#2", "n1", 12);
  Failed("w#1", "a", "bad");
  EXPECT_TRUE(crew_->Failed());
  EXPECT_EQ(observer_.lines.back(), "failed a: on n1: bad");
}

TEST_F(CrewTest, WithKeepGoingAFailureDoesNotEndTheRun) {
  Begin(kThree, /*keep_going=*/true);
  Hello("w#1", "n1", 11);
  Failed("w#1", "a", "bad");
  EXPECT_FALSE(crew_->Failed());
}

TEST_F(CrewTest, OtherVersionsAndOtherPlansAreNotUsed) {
  Begin(kThree);
  Hello("w#1", "n1", 11, "0.9");
  Hello("w#2", "n2", 12, "1.0", "another");
  EXPECT_THAT(crew_->RefusalOf("w#1"), HasSubstr("version 0.9 of the program, this is 1.0"));
  EXPECT_THAT(crew_->RefusalOf("w#2"), HasSubstr("plan is another one"));
  EXPECT_THAT(observer_.warnings, ElementsAre(HasSubstr("w#1 on n1 is not used: it is version"),
                                              HasSubstr("w#2 on n2 is not used: its plan")));
  Ok("w#1", "a");
  crew_->Leave("w#1", "killed by signal 15");
  EXPECT_EQ(observer_.warnings.size(), 2u) << "it is not lost";
  EXPECT_EQ(Of(Finish(), "a").outcome, Outcome::kCancelled);
}

TEST_F(CrewTest, AGraphThatIsWiredInAnotherWayIsAnotherPlan) {
  Load(kThree);
  Plan();
  const std::string mark = PlanMark(*plan_);
  Plan();
  EXPECT_EQ(PlanMark(*plan_), mark);
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "va"}},
    "b": {"kind": "text", "params": {"value": "vb"}},
    "all": {"kind": "concat", "in": {"parts": ["b"], "first": "a"}}}})");
  Plan();
  EXPECT_NE(PlanMark(*plan_), mark);
}

TEST_F(CrewTest, ClocksThatDifferAreSaidOncePerHostAndChangeNothing) {
  Begin(kThree);
  Hello("w#1", "n1", 11, "1.0", "", 3600);
  Hello("w#2", "n1", 12, "1.0", "", 3600);
  Hello("w#3", "n2", 13, "1.0", "", -3600);
  Hello("w#4", "n3", 14, "1.0", "", 5);
  EXPECT_THAT(observer_.warnings, ElementsAre(HasSubstr("clock of n1 is 3600 s ahead"),
                                              HasSubstr("clock of n2 is 3600 s behind")));
  EXPECT_THAT(crew_->RefusalOf("w#1"), "");
}

TEST_F(CrewTest, WhatIsComputedTwiceCountsOnceAndIsSaid) {
  Begin(kThree);
  Hello("w#1", "n1", 11);
  Hello("w#2", "n2", 12);
  Started("w#1", "a");
  Started("w#2", "a");
  Ok("w#2", "a");
  Ok("w#1", "a");
  EXPECT_EQ(std::count(observer_.lines.begin(), observer_.lines.end(), "ok a"), 1);
  EXPECT_EQ(std::count(observer_.lines.begin(), observer_.lines.end(), "start a"), 1);
  EXPECT_THAT(observer_.warnings, ElementsAre(HasSubstr("a was computed by w#2 on n2 and by w#1")));
}

TEST_F(CrewTest, WhatAnOutsiderMadeIsAHitAfterAMoment) {
  Begin(kThree);
  Hello("w#1", "n1", 11);
  Line("w#1", R"({"event":"step_waits","step":"a","for":"process 99 on elsewhere"})");
  Cached("w#1", "a", Publish("a"));
  crew_->Tick();
  EXPECT_THAT(observer_.lines, Not(::testing::Contains("cached a"))) << "a line may be on its way";
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  crew_->Tick();
  EXPECT_THAT(observer_.lines, ElementsAre("run", "wait a: process 99 on elsewhere", "cached a"));
  EXPECT_EQ(Of(Finish(), "a").outcome, Outcome::kCached);
}

TEST_F(CrewTest, AWarningOfEveryWorkerIsSaidOnce) {
  Begin(kThree);
  Hello("w#1", "n1", 11);
  Hello("w#2", "n2", 12);
  for (const char* worker : {"w#1", "w#2"}) {
    Line(worker, R"({"event":"warning","message":"no locks here"})");
  }
  EXPECT_THAT(observer_.warnings, ElementsAre("w#1 on n1: no locks here"));
}

TEST_F(CrewTest, AResultThatTheStoreHereDoesNotShowIsAFailure) {
  Begin(kThree);
  Hello("w#1", "n1", 11);
  Line("w#1",
       json{{"event", "step_done"}, {"step", "a"}, {"outcome", "ok"}, {"key", std::string(64, 'f')}}
           .dump());
  const Report report = Finish();
  EXPECT_EQ(Of(report, "a").outcome, Outcome::kFailed);
  EXPECT_THAT(Of(report, "a").message, HasSubstr("w#1 on n1 says that it is done, but the store"));
}

TEST_F(CrewTest, AResultThatShowsUpLateInTheStoreIsWaitedFor) {
  Begin(kThree);
  Hello("w#1", "n1", 11);
  Store front(folder() + "/store", format_);
  front.locks().UseLeases({.beat_s = 0.02, .lost_s = 3600, .visible_s = 5}, /*only=*/true);
  front.AnnounceRun();
  Line("w#1",
       json{{"event", "step_done"}, {"step", "a"}, {"outcome", "ok"}, {"key", KeyToPublish("a")}}
           .dump());
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    (void)Publish("a");
  });
  const Report report = crew_->Finish(front, /*interrupted=*/false);
  later.join();
  EXPECT_EQ(Of(report, "a").outcome, Outcome::kOk);
}

TEST_F(CrewTest, WhatIsNoLineOfAWorkerIsIgnored) {
  Begin(kThree);
  Ok("nobody", "a");
  Hello("w#1", "n1", 11);
  for (const char* line :
       {"", "{", "[]", "null", "Warning: Permanently added 'n1'", R"({"event":3})",
        R"({"event":"step_done","step":["a"]})", R"({"event":"step_done","step":"zzz"})",
        R"({"event":"step_started"})", R"({"event":"hello","host":"n1"})",
        R"({"event":"step_done","step":"a","outcome":"ok","wall_s":"x"})"}) {
    Line("w#1", line);
  }
  EXPECT_THAT(observer_.lines, ElementsAre("run"));
  EXPECT_EQ(Finish(/*interrupted=*/true).ExitCode(), 130);
}

}  // namespace
}  // namespace puzzle::testing
