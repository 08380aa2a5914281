// Lanes: order, sharing of cores, quiet steps.
#include "graph/run/lanes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <mutex>
#include <set>
#include <stop_token>
#include <utility>

#include "graph/run/machine.h"
#include "graph/store/locks.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LocalLanesOptions Options(size_t lanes, int cores) {
  LocalLanesOptions options;
  options.devices.assign(lanes, Device{});
  options.cores = cores;
  return options;
}

LaneWork Work(int id, double remaining_s, std::function<void(Lane&)> run) {
  LaneWork work;
  work.order = static_cast<uint64_t>(id);
  work.remaining_s = remaining_s;
  work.run = std::move(run);
  work.refuse = [](const std::string& why) { ADD_FAILURE() << why; };
  return work;
}

void WaitUntil(const std::function<bool()>& reached) {
  for (int i = 0; i < 10'000 && !reached(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(reached());
}

TEST(LanesTest, TheLongestRemainingPathGoesFirstAndTiesByPlanOrder) {
  std::vector<int> order;
  {
    std::promise<void> go;
    LocalLanes lanes(Options(1, 1));
    lanes.Post(Work(0, 100, [&](Lane&) { go.get_future().wait(); }));
    const auto post = [&](int id, double remaining_s) {
      lanes.Post(Work(id, remaining_s, [&order, id](Lane&) { order.push_back(id); }));
    };
    post(3, 1);
    post(1, 1);
    post(2, 5);
    post(4, 0.5);
    go.set_value();
  }  // the destructor runs what is queued
  EXPECT_THAT(order, ElementsAre(2, 1, 3, 4));
}

TEST(LanesTest, BusyLanesShareTheCores) {
  std::promise<void> first_runs, second_runs, second_ends, first_checks;
  LocalLanes lanes(Options(2, 8));
  lanes.Post(Work(0, 0, [&](Lane& lane) {
    EXPECT_EQ(lane.threads(), 8);
    first_runs.set_value();
    second_runs.get_future().wait();
    lane.Adapt();
    EXPECT_EQ(lane.threads(), 4);
    second_ends.set_value();
    first_checks.get_future().wait();
    for (int i = 0; i < 1000 && lane.threads() != 8; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      lane.Adapt();
    }
    EXPECT_EQ(lane.threads(), 8);
  }));
  first_runs.get_future().wait();
  lanes.Post(Work(1, 0, [&](Lane& lane) {
    EXPECT_EQ(lane.threads(), 4);
    second_runs.set_value();
    second_ends.get_future().wait();
    first_checks.set_value();
  }));
}

TEST(LanesTest, WorkThatWaitsToMeasureLeavesItsCoresToWhatItWaitsFor) {
  std::promise<void> first_runs, quiet_posted;
  LocalLanes lanes(Options(2, 8));
  lanes.Post(Work(0, 0, [&](Lane& lane) {
    first_runs.set_value();
    quiet_posted.get_future().wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the other lane has taken it
    lane.Adapt();
    EXPECT_EQ(lane.threads(), 8);
  }));
  first_runs.get_future().wait();
  LaneWork quiet = Work(1, 0, [](Lane& lane) { EXPECT_EQ(lane.threads(), 8); });
  quiet.quiet = true;
  lanes.Post(std::move(quiet));
  quiet_posted.set_value();
}

TEST(LanesTest, AFixedNumberOfThreadsStays) {
  std::atomic<int> threads{0};
  {
    LocalLanesOptions options = Options(2, 8);
    options.threads_per_lane = 3;
    options.set_threads = [&](int n) { threads = n; };
    LocalLanes lanes(std::move(options));
    lanes.Post(Work(0, 0, [](Lane& lane) { lane.Adapt(); }));
  }
  EXPECT_EQ(threads, 3);
}

TEST(LanesTest, WorkIsAdmittedBesideResultsThatWaitToBeSaved) {
  std::atomic<bool> large{false}, small{false};
  LocalLanesOptions options = Options(1, 1);
  options.memory_bytes["cpu"] = 100;
  LocalLanes lanes(std::move(options));
  const auto post = [&](int id, uint64_t bytes, std::atomic<bool>& ran) {
    LaneWork work = Work(id, 1, [&ran](Lane&) { ran = true; });
    work.memory_bytes = bytes;
    lanes.Post(std::move(work));
  };
  lanes.Hold(70);
  post(0, 40, large);
  post(1, 20, small);
  WaitUntil([&] { return small.load(); });
  EXPECT_FALSE(large) << "there is no room beside what waits";
  lanes.LetGo(70);
  WaitUntil([&] { return large.load(); });
}

TEST(LanesTest, EveryLaneStartsOnItsOwnThreadWithItsDevice) {
  std::mutex mutex;
  std::set<std::string> names;
  std::set<std::thread::id> ids;
  {
    LocalLanesOptions options;
    options.devices = ParseDevices("cpu,cuda:1,cpu");
    options.on_start = [&](const Device& device, int lane) {
      const std::scoped_lock lock(mutex);
      names.insert(device.name() + "/" + std::to_string(lane));
      ids.insert(std::this_thread::get_id());
    };
    LocalLanes lanes(std::move(options));
    EXPECT_EQ(lanes.size(), 3u);
  }
  EXPECT_EQ(names, (std::set<std::string>{"cpu/0", "cuda:1/1", "cpu/2"}));
  EXPECT_EQ(ids.size(), 3u);
}

TEST(LanesTest, QuietWorkIsAlone) {
  std::atomic<int> inside{0}, violations{0}, ran{0};
  {
    LocalLanes lanes(Options(4, 4));
    for (int i = 0; i < 200; ++i) {
      const bool quiet = i % 10 == 5;
      LaneWork work = Work(i, i % 7, [&, quiet](Lane&) {
        const int others = inside++;
        if (quiet && others != 0) ++violations;
        for (int k = 0; k < 10; ++k) {
          if (quiet && inside != 1) ++violations;
          std::this_thread::yield();
        }
        --inside;
        ++ran;
      });
      work.quiet = quiet;
      lanes.Post(std::move(work));
    }
  }
  EXPECT_EQ(violations, 0);
  EXPECT_EQ(ran, 200);
}

TEST(LanesTest, WhatFollowsAStepHoldsQuietOnesBackWithoutWaiting) {
  QuietGate gate;
  gate.Enter(QuietGate::Pass::kLane);
  gate.Stay();
  gate.Leave(QuietGate::Pass::kLane);
  std::atomic<bool> entered{false};
  std::thread quiet([&] {
    gate.Enter(QuietGate::Pass::kQuiet);
    entered = true;
    gate.Leave(QuietGate::Pass::kQuiet);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(entered);
  gate.Enter(QuietGate::Pass::kHost);  // host steps pass while a quiet one waits
  gate.Leave(QuietGate::Pass::kHost);
  gate.Leave(QuietGate::Pass::kHost);
  quiet.join();
  EXPECT_TRUE(entered);
}

TEST(LanesTest, WhoWaitsForAnotherProcessHearsWhyOnce) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/locks";
  std::ofstream(path).flush();
  MachineGate ours(path), theirs(path);  // of two runs: their descriptors see each other's locks
  std::mutex mutex;
  std::vector<std::string> heard;
  QuietGate gate;
  gate.SetMachine(
      &ours,
      [&](const std::string& why) {
        const std::scoped_lock lock(mutex);
        heard.push_back(why);
      },
      {}, std::chrono::milliseconds(20));
  const auto enter_late = [&](QuietGate::Pass pass, bool they_measure) {
    WaitUntil([&] { return theirs.TryEnter(they_measure); });
    std::thread waiting([&] {
      gate.Enter(pass);
      gate.Leave(pass);
    });
    WaitUntil([&] {
      const std::scoped_lock lock(mutex);
      return !heard.empty();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(60));  // time to say it again
    theirs.Leave();
    waiting.join();
    return std::exchange(heard, {});
  };
  EXPECT_THAT(enter_late(QuietGate::Pass::kLane, true), ElementsAre(HasSubstr("measures")));
  EXPECT_THAT(enter_late(QuietGate::Pass::kQuiet, false),
              ElementsAre(HasSubstr("waits to measure")));
  gate.Enter(QuietGate::Pass::kQuiet);  // nobody else is there
  gate.Leave(QuietGate::Pass::kQuiet);
  EXPECT_TRUE(heard.empty());
  gate.SetMachine(nullptr);
}

TEST(LanesTest, WhoHasMeasuredLetsOtherProcessesComputeAtOnce) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/locks";
  std::ofstream(path).flush();
  MachineGate ours(path), theirs(path);
  QuietGate gate;
  gate.SetMachine(&ours);
  gate.Enter(QuietGate::Pass::kQuiet);
  EXPECT_FALSE(theirs.TryEnter(/*alone=*/false));
  gate.Stay();  // until its result is saved; by then others of this process are inside
  gate.Leave(QuietGate::Pass::kQuiet);
  EXPECT_TRUE(theirs.TryEnter(/*alone=*/false));
  theirs.Leave();
  EXPECT_FALSE(theirs.TryEnter(/*alone=*/true));
  theirs.Leave();
  gate.Leave(QuietGate::Pass::kHost);
  EXPECT_TRUE(theirs.TryEnter(/*alone=*/true));
  theirs.Leave();
  gate.SetMachine(nullptr);
}

TEST(LanesTest, WhoIsAskedToStopWaitsForNoOtherProcess) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/locks";
  std::ofstream(path).flush();
  MachineGate ours(path), theirs(path);
  ASSERT_TRUE(theirs.TryEnter(/*alone=*/true));
  std::stop_source stop;
  QuietGate gate;
  gate.SetMachine(&ours, nullptr, [&] { return stop.stop_requested(); });
  std::vector<std::future<void>> waiting;
  for (const auto pass :
       {QuietGate::Pass::kLane, QuietGate::Pass::kHost, QuietGate::Pass::kQuiet}) {
    waiting.push_back(std::async(std::launch::async, [&gate, pass] {
      gate.Enter(pass);
      gate.Leave(pass);
    }));
  }
  EXPECT_EQ(waiting[0].wait_for(std::chrono::milliseconds(30)), std::future_status::timeout);
  stop.request_stop();
  for (auto& one : waiting) {
    EXPECT_EQ(one.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  }
  theirs.Leave();
  for (auto& one : waiting) one.get();
  gate.SetMachine(nullptr);
}

TEST(LanesTest, WorkThatDeclaresThreadsLeavesTheOtherCoresToTheRest) {
  std::promise<void> first_runs, second_checked;
  LocalLanes lanes(Options(2, 8));
  LaneWork narrow = Work(0, 0, [&](Lane& lane) {
    EXPECT_EQ(lane.threads(), 1);
    first_runs.set_value();
    second_checked.get_future().wait();
  });
  narrow.threads = 1;
  lanes.Post(std::move(narrow));
  first_runs.get_future().wait();
  lanes.Post(Work(1, 0, [&](Lane& lane) {
    EXPECT_EQ(lane.threads(), 7);
    second_checked.set_value();
  }));
}

/// Bodies that count how much they occupy together.
struct Memory {
  std::mutex mutex;
  uint64_t used = 0, most = 0;
  int inside = 0;
  std::vector<int> order;
  int others_beside_big = 0;

  std::function<void(Lane&)> Body(int id, uint64_t bytes, bool big) {
    return [this, id, bytes, big](Lane&) {
      {
        const std::scoped_lock lock(mutex);
        order.push_back(id);
        used += bytes;
        if (!big) most = std::max(most, used);
        if (big && inside > 0) ++others_beside_big;
        ++inside;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const std::scoped_lock lock(mutex);
      used -= bytes;
      --inside;
    };
  }
};

TEST(LanesTest, WorkIsAdmittedByMemoryAndWhatExceedsTheLimitRunsAlone) {
  Memory memory;
  {
    LocalLanesOptions options = Options(4, 4);
    options.memory_bytes["cpu"] = 100;
    LocalLanes lanes(std::move(options));
    for (int i = 0; i < 60; ++i) {
      const bool big = i % 20 == 7;
      const uint64_t bytes = big ? 1000 : 20 + 10 * static_cast<uint64_t>(i % 4);
      LaneWork work = Work(i, 1, memory.Body(i, bytes, big));
      work.memory_bytes = bytes;
      lanes.Post(std::move(work));
    }
  }
  EXPECT_EQ(memory.order.size(), 60u);
  EXPECT_LE(memory.most, 100u);
  EXPECT_GT(memory.most, 60u);  // some ran together
  EXPECT_EQ(memory.others_beside_big, 0);
}

TEST(LanesTest, WhatIsSharedCountsOnceAndKeepsOthersOut) {
  Memory memory;
  {
    LocalLanesOptions options = Options(4, 4);
    options.memory_bytes["cpu"] = 100;
    LocalLanes lanes(std::move(options));
    std::promise<void> go;
    lanes.Post(Work(0, 100, [&](Lane&) { go.get_future().wait(); }));
    for (int i = 1; i < 40; ++i) {
      const bool big = i % 10 == 7;  // alone, for what it shares
      LaneWork work = Work(i, 1, memory.Body(i, 10, big));
      work.memory_bytes = 10;
      work.shared_bytes = big ? 95 : 75;  // two of them beside each other
      lanes.Post(std::move(work));
    }
    go.set_value();
  }
  EXPECT_EQ(memory.order.size(), 39u);
  EXPECT_EQ(memory.most, 20u);
  EXPECT_EQ(memory.others_beside_big, 0);
}

TEST(LanesTest, WorkThatMustBeAloneGoesFirstAndKeepsItsDeviceToItself) {
  std::atomic<int> began{0}, inside{0}, violations{0};
  std::vector<int> order;
  std::mutex mutex;
  {
    std::promise<void> go;
    const std::shared_future<void> gone = go.get_future().share();
    LocalLanes lanes(Options(3, 3));
    const auto post = [&](int id, bool alone) {
      LaneWork work = Work(id, 100 - id, [&, id, alone](Lane&) {
        ++began;
        if (id < 3) gone.wait();
        if (inside++ > 0 && alone) ++violations;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        if (inside-- > 1 && alone) ++violations;
        const std::scoped_lock lock(mutex);
        order.push_back(id);
      });
      work.alone = alone;
      lanes.Post(std::move(work));
    };
    for (int id = 0; id < 3; ++id) post(id, false);
    WaitUntil([&] { return began == 3; });
    for (int id = 3; id < 10; ++id) post(id, false);
    post(10, true);
    go.set_value();
  }
  EXPECT_EQ(violations, 0);
  EXPECT_EQ(std::find(order.begin(), order.end(), 10) - order.begin(), 3);
}

TEST(LanesTest, ARetiredLaneLeavesItsWorkToOthersOfItsKindAndTheLastOneRefusesIt) {
  std::vector<std::string> refused;
  std::vector<int> ran;
  std::mutex mutex;
  {
    std::promise<void> go;
    const std::shared_future<void> gone = go.get_future().share();
    LocalLanesOptions options;
    options.devices = ParseDevices("cuda:0,cuda:1,cpu");
    LocalLanes lanes(std::move(options));
    const auto post = [&](int id, const std::string& type, bool retires) {
      LaneWork work = Work(id, 100 - id, [&, id, retires](Lane& lane) {
        if (id == 0) gone.wait();
        if (retires) lane.Retire();
        const std::scoped_lock lock(mutex);
        ran.push_back(id);
      });
      work.device_type = type;
      work.refuse = [&, id](const std::string& why) {
        const std::scoped_lock lock(mutex);
        refused.push_back(std::to_string(id) + ": " + why);
      };
      lanes.Post(std::move(work));
    };
    post(0, "cuda", true);
    post(1, "cuda", true);
    WaitUntil([&] {  // one lane is gone, the other one holds work 0
      const std::scoped_lock lock(mutex);
      return !ran.empty();
    });
    post(2, "cuda", false);
    post(3, "", false);
    post(4, "npu", false);
    go.set_value();
    WaitUntil([&] {
      const std::scoped_lock lock(mutex);
      return ran.size() == 3 && refused.size() == 2;
    });
    post(5, "cuda", false);
  }
  std::sort(ran.begin(), ran.end());
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 3}));
  EXPECT_THAT(refused, ElementsAre("4: there is no npu lane (left) for it",
                                   "2: there is no cuda lane (left) for it",
                                   "5: there is no cuda lane (left) for it"));
}

TEST(LanesTest, TheMemoryOfThisMachineIsKnown) {
  EXPECT_GT(AvailableMemory(), uint64_t{1} << 24);
  EXPECT_LT(AvailableMemory(), uint64_t{1} << 50);
}

TEST(LanesTest, DevicesAreParsedOrRefused) {
  const auto devices = ParseDevices("cpu,cuda,cuda:3");
  ASSERT_EQ(devices.size(), 3u);
  EXPECT_EQ(devices[0].name(), "cpu");
  EXPECT_EQ(devices[1].name(), "cuda:0");
  EXPECT_EQ(devices[2].name(), "cuda:3");
  for (const char* bad : {"", "cpu,", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x"}) {
    EXPECT_THROW(static_cast<void>(ParseDevices(bad)), Error) << bad;
  }
  EXPECT_GE(DefaultDevices().size(), 1u);
  EXPECT_LE(DefaultDevices().size(), 4u);
}

}  // namespace
}  // namespace puzzle
