// The processes of a fleet: which are started again, and for how long. Workers are shell scripts.
#include "apps/running/fleet_run.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "graph/crew/worker_line.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kThreeTexts = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "va"}},
  "b": {"kind": "text", "params": {"value": "vb"}},
  "all": {"kind": "concat", "in": {"parts": ["a", "b"]}}}})";

/// Whoever has spoken has lasted, and two who have not are one too many.
constexpr FleetTimes kSoon{.first_pause_s = 0.001, .lasting_s = 0, .tries = 2};

class FleetRunTest : public GraphTest {
 protected:
  FleetRunTest() {
    Load(kThreeTexts);
    Plan();
    forecast_ = MarkStale(*plan_, *store_);
    crew_ = std::make_unique<Crew>(*plan_, forecast_, &observer_, Crew::Options{false, "1.0", 1});
    crew_->Begin(1);
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    WriteFile("hello", HelloLine({"n1", "process 11 on n1", "1.0", PlanMark(*plan_), now.count()}));
  }

  /// Runs one worker. Every time it starts it does `begin`; what comes then stands in `lives`, of
  /// which the last one is for all that follow. After nine lives it gives up by itself.
  void RunWorker(const std::string& begin, const std::vector<std::string>& lives) {
    std::string script = "cd '" + folder() + "'; echo >> starts; n=$(wc -l < starts)\n";
    script += "[ $n -le 9 ] || exit 2\n" + begin + "\ncase $n in\n";
    for (size_t i = 0; i < lives.size(); ++i) {
      const bool is_last = i + 1 == lives.size();
      script += (is_last ? "*" : std::to_string(i + 1)) + ") " + lives[i] + ";;\n";
    }
    Fleet fleet;
    fleet.launches.push_back({"local#1", {"/bin/sh", "-c", script + "esac"}, false, true});
    RunFleet(fleet, *crew_, {}, kSoon);
  }
  [[nodiscard]] size_t Starts() const {
    std::ifstream file(folder() + "/starts");
    return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  }

  static std::string Says(const std::string& event, const std::string& step) {
    return "echo '{\"event\": \"" + event + "\", \"step\": \"" + step +
           "\", \"outcome\": \"ok\", \"key\": \"k\"}'; ";
  }

  std::unique_ptr<Crew> crew_;
};

constexpr const char* kHello = "cat hello; ";
constexpr const char* kDies = "kill -9 $$";

TEST_F(FleetRunTest, AStepThatKillsItsWorkersHasFailedAndTheLastOneIsGivenUp) {
  RunWorker(kHello + Says("step_started", "a"), {kDies});
  EXPECT_EQ(Starts(), 5u);
  ASSERT_THAT(observer_.warnings, SizeIs(6));
  EXPECT_THAT(observer_.warnings[4], HasSubstr("LOST local#1 on n1"));
  EXPECT_THAT(observer_.warnings[5], HasSubstr("local#1 on n1 is given up: killed by signal 9"));
}

TEST_F(FleetRunTest, AWorkerThatNeverSpeaksIsGivenUpHoweverLongItTakes) {
  RunWorker("echo no route to host >&2", {"exit 255"});
  EXPECT_EQ(Starts(), 2u);
  ASSERT_THAT(observer_.warnings, SizeIs(1));
  EXPECT_THAT(observer_.warnings[0],
              AllOf(HasSubstr("is given up: it failed at once 2 times"), HasSubstr("no route")));
}

TEST_F(FleetRunTest, AWorkerThatMakesAResultNowAndThenIsStartedAgain) {
  RunWorker(
      kHello + Says("step_started", "all"),
      {kDies, Says("step_done", "a") + kDies, kDies,
       Says("step_done", "b") + Says("step_done", "all") + "echo '{\"event\": \"run_done\"}'"});
  EXPECT_EQ(Starts(), 4u);
  EXPECT_TRUE(crew_->Complete());
  EXPECT_THAT(observer_.warnings, AllOf(SizeIs(3), Each(HasSubstr("LOST local#1"))));
}

}  // namespace
}  // namespace puzzle::testing
