// Steps that take several lanes at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "graph/run/demand.h"
#include "graph/run/lane_team.h"
#include "graph/run/lanes.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---------------------------------------------------------------------------------------------
// Threads

TEST(LaneTeamTest, EveryMemberDoesEveryRoundOnItsOwnThread) {
  LaneTeam team(3);
  std::vector<std::thread> members;
  for (const size_t number : {1, 2}) members.emplace_back([&, number] { team.Serve(number); });
  std::map<size_t, std::set<std::thread::id>> threads;
  std::mutex mutex;
  int calls = 0;
  for (int round = 0; round < 1000; ++round) {
    team.OnEach([&](size_t number) {
      const std::scoped_lock lock(mutex);
      threads[number].insert(std::this_thread::get_id());
      ++calls;
    });
    ASSERT_EQ(calls, 3 * (round + 1)) << "all had ended";
  }
  team.Dismiss();
  for (std::thread& member : members) member.join();
  ASSERT_EQ(threads.size(), 3u);
  for (const auto& [number, ids] : threads) EXPECT_EQ(ids.size(), 1u) << number;
  EXPECT_TRUE(threads[0].contains(std::this_thread::get_id()));
}

TEST(LaneTeamTest, OfSeveralFailuresTheFirstOneIsThrownAndTheTeamGoesOn) {
  LaneTeam team(3);
  std::vector<std::thread> members;
  for (const size_t number : {1, 2}) members.emplace_back([&, number] { team.Serve(number); });
  EXPECT_EQ(team.failed(), 0u);
  std::atomic<int> ended{0};
  try {
    team.OnEach([&](size_t number) {
      ++ended;
      if (number > 0) throw Error("number " + std::to_string(number));
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "number 1");
  }
  EXPECT_EQ(team.failed(), 1u);
  EXPECT_EQ(ended, 3) << "nobody is left in the middle";
  team.OnEach([&](size_t) { ++ended; });
  EXPECT_EQ(ended, 6);
  team.Dismiss();
  for (std::thread& member : members) member.join();
}

// ---------------------------------------------------------------------------------------------
// Lanes

LocalLanesOptions On(const std::string& devices) {
  LocalLanesOptions options;
  options.devices = ParseDevices(devices);
  options.cores = 8;
  return options;
}

LaneWork Work(int id, int lanes, std::function<void(Lane&)> run) {
  LaneWork work;
  work.order = static_cast<uint64_t>(id);
  work.remaining_s = 1;
  work.lanes = lanes;
  work.run = std::move(run);
  work.refuse = [](const std::string& why) { ADD_FAILURE() << why; };
  return work;
}

std::vector<std::string> DevicesOf(Lane& lane) {
  std::vector<std::string> names;
  for (const Lane* member : lane.team()) names.push_back(member->device().name());
  return names;
}

TEST(TeamsTest, WorkOfTwoLanesHasThemAloneAndAnEqualShareOfTheCores) {
  std::atomic<int> others{0};
  std::vector<int> threads(2);
  {
    LocalLanes lanes(On("cpu,cpu"));
    lanes.Post(Work(0, 2, [&](Lane& lane) {
      EXPECT_THAT(DevicesOf(lane), ElementsAre("cpu", "cpu"));
      const int before = others;  // they may have overtaken it
      for (int i = 0; i < 20; ++i) {
        lane.OnEach([&](size_t number) { threads[number] = lane.team()[number]->threads(); });
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_EQ(others, before);
      }
    }));
    for (int id = 1; id < 5; ++id) lanes.Post(Work(id, 1, [&](Lane&) { ++others; }));
  }
  EXPECT_EQ(others, 4);
  EXPECT_THAT(threads, ElementsAre(4, 4));
}

TEST(TeamsTest, AStreamOfSmallWorkDoesNotKeepALargeOneWaitingForEver) {
  std::atomic<int> small{0}, before_large{-1};
  {
    std::promise<void> go;
    const std::shared_future<void> gone = go.get_future().share();
    LocalLanes lanes(On("cpu,cpu,cpu"));  // ends before what its work waits for
    for (int id = 0; id < 3; ++id) lanes.Post(Work(id, 1, [&](Lane&) { gone.wait(); }));
    LaneWork large = Work(3, 3, [&](Lane&) { before_large = small.load(); });
    large.remaining_s = 100;
    lanes.Post(std::move(large));
    for (int id = 4; id < 204; ++id) {
      lanes.Post(Work(id, 1, [&](Lane&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ++small;
      }));
    }
    go.set_value();
  }
  EXPECT_EQ(small, 200);
  EXPECT_GE(before_large, 0);
  EXPECT_LT(before_large, 40) << "a few overtake it";
}

TEST(TeamsTest, LargeWorkThatWaitsLeavesALaneToWhatRunsAnywhere) {
  std::promise<void> first_runs, second_ran;
  LocalLanes lanes(On("cpu,cpu"));
  lanes.Post(Work(0, 1, [&](Lane&) {
    first_runs.set_value();
    // Were the other lane to wait for this one, neither would end.
    EXPECT_EQ(second_ran.get_future().wait_for(std::chrono::seconds(20)),
              std::future_status::ready);
  }));
  first_runs.get_future().wait();
  lanes.Post(Work(1, 2, [](Lane&) {}));
  lanes.Post(Work(2, 1, [&](Lane&) { second_ran.set_value(); }));
}

TEST(TeamsTest, TeamsOfAnySizeMixWithoutADeadlock) {
  std::atomic<int> ran{0}, inside{0}, most{0};
  {
    LocalLanesOptions options = On("cpu,cpu,cpu,cpu");
    options.memory_bytes["cpu"] = 100;
    LocalLanes lanes(std::move(options));
    for (int id = 0; id < 400; ++id) {
      const int size = 1 + id * 7 % 4;
      LaneWork work = Work(id, size, [&, size, id](Lane& lane) {
        int now = inside += size;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        for (int round = 0; round < id % 3; ++round) lane.OnEach([](size_t) {});
        inside -= size;
        ++ran;
      });
      work.remaining_s = id % 11;
      work.memory_bytes = static_cast<uint64_t>(id % 5) * 30;
      work.quiet = id % 50 == 7;
      lanes.Post(std::move(work));
    }
  }
  EXPECT_EQ(ran, 400);
  EXPECT_LE(most, 4) << "a lane serves one step at a time";
}

TEST(TeamsTest, DevicesThatAreNoCpuAreDifferentOnesAndOfOneType) {
  std::vector<std::string> devices;
  std::vector<std::string> refused;
  {
    LocalLanes lanes(On("cpu,cuda:0,cuda:0,cuda:1,cpu,cpu"));
    const auto post = [&](int id, int size, const std::string& type) {
      LaneWork work = Work(id, size, [&](Lane& lane) { devices = DevicesOf(lane); });
      work.device_type = type;
      work.refuse = [&](const std::string& why) { refused.push_back(why); };
      lanes.Post(std::move(work));
    };
    post(0, 2, "");
    post(1, 3, "cuda");
    post(2, 4, "");
  }
  EXPECT_THAT(devices, ::testing::UnorderedElementsAre("cuda:0", "cuda:1"));
  EXPECT_THAT(
      refused,
      ElementsAre("it takes 3 lanes of cuda together, and there are 3 of cpu, 2 of cuda (left)",
                  "it takes 4 lanes of one type of device together, and there are 3 of cpu, 2 of "
                  "cuda (left)"));
}

TEST(TeamsTest, AFailureOfAMemberIsItsLeadersAndOneThatRetiresLeavesTooFew) {
  std::atomic<bool> is_refused{false};
  std::atomic<int> alone{0};
  {
    std::promise<void> posted;
    LocalLanes lanes(On("cuda:0,cuda:1"));
    const auto post = [&](int id, std::function<void(Lane&)> run) {
      LaneWork work = Work(id, 2, std::move(run));
      work.refuse = [&](const std::string& why) {
        EXPECT_EQ(why, "it takes 2 lanes of cuda together, and there are 1 of cuda (left)");
        is_refused = true;
      };
      lanes.Post(std::move(work));
    };
    post(0, [&](Lane& lane) {
      posted.get_future().wait();
      EXPECT_THROW(lane.OnEach([](size_t number) {
        if (number == 1) throw Error("fell off the bus");
      }),
                   Error);
      EXPECT_EQ(&lane.failed(), lane.team()[1]);
      lane.failed().Retire();
    });
    post(1, [](Lane&) { ADD_FAILURE() << "ran on one lane"; });
    posted.set_value();
    for (int id = 2; id < 6; ++id) {
      lanes.Post(Work(id, 1, [&](Lane&) { ++alone; }));
    }
  }
  EXPECT_TRUE(is_refused);
  EXPECT_EQ(alone, 4) << "the other one goes on";
}

// ---------------------------------------------------------------------------------------------
// Runs

class TeamRunTest : public GraphTest {
 protected:
  static constexpr const char* kTogether = R"({"puzzle": 1, "nodes": {
    "a": {"kind": "sleep", "foreach": {"i": {"range": [0, 12]}}, "params": {"value": "${i}", "ms": 2}},
    "t": {"kind": "together", "foreach": {"i": [1, 2, 3]}, "params": {"value": "${i}", "lanes": 2}},
    "end": {"kind": "concat", "in": {"parts": ["a", "t"]}}}})";
};

TEST_F(TeamRunTest, AStepHasTheDevicesItAskedForAndOthersRunToo) {
  Load(kTogether);
  devices_.assign(3, Device{});
  Run();
  EXPECT_EQ(ran().size(), 16u);
  EXPECT_EQ(TextOf("t[i=2]"), "2: cpu cpu");
}

TEST_F(TeamRunTest, HowManyLanesItTookIsNoPartOfItsKeyUnlessItsKindSaysSo) {
  Load(kTogether);
  Run();
  Set("t.lanes=1");
  Load(kTogether);
  Run();
  EXPECT_EQ(cached().size(), 16u);
}

TEST_F(TeamRunTest, TooFewLanesAreSaidBeforehandAndWhereTheStepComes) {
  Load(kTogether);
  Set("t.lanes=3");
  devices_ = {Device{}, Device{}, Device{"cuda", 0}};
  Plan();
  EXPECT_EQ(ComplaintAboutLanes(*plan_, forecast_, devices_, *store_),
            "t[i=1] takes 3 lanes of one type of device together, and this run has 2 of cpu, 1 of "
            "cuda: let it take fewer, or give the run more with --devices");
  EXPECT_EQ(ComplaintAboutLanes(*plan_, forecast_, {Device{}, Device{}, Device{}}, *store_), "");
  options_.keep_going = true;
  Run();
  EXPECT_EQ(failed(), Steps("t[i=1]", "t[i=2]", "t[i=3]"));
  EXPECT_EQ(report().steps[Find("t[i=1]")].message,
            "it takes 3 lanes of one type of device together, and there are 2 of cpu, 1 of cuda "
            "(left)");
}

TEST_F(TeamRunTest, AStopEndsAStepOfSeveralLanes) {
  std::stop_source stop;
  options_.stop = stop.get_token();
  std::atomic<int> calls{0};
  playground_.on_start = [&](const std::string& what) {
    if (what.starts_with("together") && ++calls == 10) stop.request_stop();
  };
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "together", "params": {"rounds": 1000000}}}})");
  Run();
  EXPECT_EQ(cancelled(), Steps("t"));
}

TEST_F(TeamRunTest, TheMemberWhoseDeviceBreaksIsTheOneThatGoes) {
  class Broken : public Error {
   public:
    using Error::Error;
  };
  options_.classify = [](const std::exception& error) {
    return dynamic_cast<const Broken*>(&error) != nullptr ? FailureKind::kDeviceLost
                                                          : FailureKind::kOrdinary;
  };
  devices_ = {Device{"cuda", 0}, Device{"cuda", 1}, Device{"cuda", 2}};
  playground_.on_start = [](const std::string& what) {
    if (what.starts_with("together cuda:1")) throw Broken("CUDA error: unknown error");
  };
  options_.keep_going = true;
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 4]}}, "params": {"value": "${i}"}},
    "t": {"kind": "together", "foreach": {"i": {"range": [0, 3]}},
          "params": {"value": "${i}", "lanes": 3}}}})");
  Run();
  EXPECT_EQ(ran().size(), 4u) << "on the two that are left";
  ASSERT_EQ(observer_.warnings.size(), 1u);
  EXPECT_THAT(observer_.warnings[0], HasSubstr("cuda:1 on "));
  EXPECT_EQ(failed().size(), 3u);
  for (const StepResult& step : report().steps) {
    if (step.outcome != Outcome::kFailed) continue;
    EXPECT_THAT(step.message, HasSubstr("together, and there are 2 of cuda (left)"));
  }
}

}  // namespace
}  // namespace puzzle::testing
