// Lanes: order, sharing of cores, quiet steps.
#include "graph/lanes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "io/error.h"

namespace puzzle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LanesTest, TheLongestRemainingPathGoesFirstAndTiesByPlanOrder) {
  std::vector<int> order;
  {
    std::promise<void> go;
    LocalLanes lanes({{Device{}}, 1, 0, {}, {}});
    lanes.Post({100, 0, false, [&](Lane&) { go.get_future().wait(); }});
    const auto post = [&](int id, double remaining_s) {
      lanes.Post({remaining_s, static_cast<uint64_t>(id), false,
                  [&order, id](Lane&) { order.push_back(id); }});
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
  LocalLanes lanes({{Device{}, Device{}}, 8, 0, {}, {}});
  lanes.Post({0, 0, false, [&](Lane& lane) {
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
              }});
  first_runs.get_future().wait();
  lanes.Post({0, 1, false, [&](Lane& lane) {
                EXPECT_EQ(lane.threads(), 4);
                second_runs.set_value();
                second_ends.get_future().wait();
                first_checks.set_value();
              }});
}

TEST(LanesTest, AFixedNumberOfThreadsStays) {
  std::atomic<int> threads{0};
  {
    LocalLanes lanes({{Device{}, Device{}}, 8, 3, {}, [&](int n) { threads = n; }});
    lanes.Post({0, 0, false, [](Lane& lane) { lane.Adapt(); }});
  }
  EXPECT_EQ(threads, 3);
}

TEST(LanesTest, EveryLaneStartsOnItsOwnThreadWithItsDevice) {
  std::mutex mutex;
  std::set<std::string> names;
  std::set<std::thread::id> ids;
  {
    LocalLanes lanes({ParseDevices("cpu,cuda:1,cpu"),
                      2,
                      0,
                      [&](const Device& device, int lane) {
                        const std::scoped_lock lock(mutex);
                        names.insert(device.name() + "/" + std::to_string(lane));
                        ids.insert(std::this_thread::get_id());
                      },
                      {}});
    EXPECT_EQ(lanes.size(), 3u);
  }
  EXPECT_EQ(names, (std::set<std::string>{"cpu/0", "cuda:1/1", "cpu/2"}));
  EXPECT_EQ(ids.size(), 3u);
}

TEST(LanesTest, QuietWorkIsAlone) {
  std::atomic<int> inside{0}, violations{0}, ran{0};
  {
    LocalLanes lanes({std::vector<Device>(4), 4, 0, {}, {}});
    for (int i = 0; i < 200; ++i) {
      const bool quiet = i % 10 == 5;
      lanes.Post({static_cast<double>(i % 7), static_cast<uint64_t>(i), quiet, [&, quiet](Lane&) {
                    const int others = inside++;
                    if (quiet && others != 0) ++violations;
                    for (int k = 0; k < 10; ++k) {
                      if (quiet && inside != 1) ++violations;
                      std::this_thread::yield();
                    }
                    --inside;
                    ++ran;
                  }});
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
