// Which lane runs what, and what happens when memory or a device gives up.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <vector>

#include "graph/run/demand.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SchedulingTest : public GraphTest {
 protected:
  /// The steps in the order in which they started.
  std::vector<std::string> Started() const {
    std::vector<std::string> names;
    for (const std::string& line : observer_.lines) {
      if (line.starts_with("start ")) names.push_back(line.substr(6));
    }
    return names;
  }
};

/// One lane that begins when so many steps are ready, with the most urgent of all.
class PatientLane final : public Lanes {
 public:
  explicit PatientLane(size_t wanted) : wanted_(wanted) {}
  void Post(LaneWork work) override {
    const std::scoped_lock lock(mutex_);
    waiting_.push_back(std::move(work));
    if (waiting_.size() < wanted_) return;
    std::promise<void> all_there;
    LaneWork door;  // the lane stands before it meanwhile
    door.remaining_s = HUGE_VAL;
    door.order = UINT64_MAX;
    door.run = [opens = all_there.get_future().share()](Lane&) { opens.wait(); };
    door.refuse = [](const std::string& why) { ADD_FAILURE() << why; };
    lane_.Post(std::move(door));
    for (LaneWork& ready : waiting_) lane_.Post(std::move(ready));
    waiting_.clear();
    all_there.set_value();
  }
  size_t size() const override { return lane_.size(); }
  QuietGate& gate() override { return lane_.gate(); }

 private:
  static LocalLanesOptions OneCpu() {
    LocalLanesOptions options;
    options.devices = {Device{}};
    return options;
  }

  const size_t wanted_;
  std::mutex mutex_;
  std::vector<LaneWork> waiting_;
  LocalLanes lane_{OneCpu()};
};

TEST_F(SchedulingTest, StepsThatShareAnInputFollowEachOtherAndFindItResident) {
  make_lanes_ = [] { return std::make_unique<PatientLane>(12); };
  options_.resident_bytes = 12;  // one state
  // In the order of the plan the layers alternate.
  Load(R"({"puzzle": 1, "nodes": {
    "state": {"kind": "text", "foreach": {"layer": [0, 1, 2]},
              "params": {"value": "state ${layer}"}},
    "block": {"kind": "sleep", "foreach": {"variant": ["a", "b", "c", "d"], "layer": [0, 1, 2]},
              "in": {"in": "state[layer=${layer}]"},
              "params": {"value": "${variant}${layer}", "ms": 5}}}})");
  Run();
  std::vector<std::string> layers;
  for (const std::string& name : Started()) {
    if (!name.starts_with("block")) continue;
    const std::string layer = name.substr(name.find("layer="));
    if (layers.empty() || layers.back() != layer) layers.push_back(layer);
  }
  EXPECT_EQ(layers.size(), 3u) << ::testing::PrintToString(layers);
  EXPECT_EQ(playground_.loads, 3);
  EXPECT_EQ(ran().size(), 15u);
}

TEST_F(SchedulingTest, LongStepsDoNotTearTheirNodeApart) {
  make_lanes_ = [] { return std::make_unique<PatientLane>(6); };
  Load(R"({"puzzle": 1, "nodes": {
    "block": {"kind": "sleep", "foreach": {"layer": [0, 1, 2], "variant": ["a", "b"]},
              "params": {"value": "${variant}${layer}", "ms": 1}}}})");
  for (const char* layer : {"0", "1", "2"})
    Set(std::string("block[layer=") + layer + ",variant=b].ms=60");
  Run();  // tells how long each takes
  Set("block.value=again ${variant}${layer}");
  Run();
  std::vector<std::string> started = Started();
  ASSERT_GE(started.size(), 6u);
  started.erase(started.begin(), started.end() - 6);
  EXPECT_TRUE(std::is_sorted(started.begin(), started.end()))
      << ::testing::PrintToString(started) << ": layer by layer, as in the plan";
}

TEST_F(SchedulingTest, MemoryDecidesHowManyStepsRunAtOnce) {
  devices_.assign(4, Device{});
  memory_bytes_["cpu"] = uint64_t{100} << 20;
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "sleep", "foreach": {"i": {"range": [0, 12]}},
           "params": {"value": "${i}", "ms": 10, "memory_mib": 40}}}})");
  Run();
  EXPECT_EQ(ran().size(), 12u);
  EXPECT_EQ(playground_.peak, 2);
  playground_.peak = 0;
  Set("s.memory_mib=400");  // more than there is: one by one
  Set("s.value=n${i}");
  Run();
  EXPECT_EQ(ran().size(), 12u);
  EXPECT_EQ(playground_.peak, 1);
}

/// Lanes that remember what waits to be saved.
class HoldingLanes final : public Lanes {
 public:
  explicit HoldingLanes(std::atomic<int64_t>& held) : held_(held) {}
  void Post(LaneWork work) override { lane_.Post(std::move(work)); }
  size_t size() const override { return lane_.size(); }
  QuietGate& gate() override { return lane_.gate(); }
  void Hold(uint64_t bytes) override { held_ += static_cast<int64_t>(bytes); }
  void LetGo(uint64_t bytes) override { held_ -= static_cast<int64_t>(bytes); }

 private:
  static LocalLanesOptions OneCpu() {
    LocalLanesOptions options;
    options.devices = {Device{}};
    return options;
  }

  std::atomic<int64_t>& held_;
  LocalLanes lane_{OneCpu()};
};

TEST_F(SchedulingTest, AResultIsMemoryUntilItIsSaved) {
  std::atomic<int64_t> held{0}, while_saved{-1};
  make_lanes_ = [&] { return std::make_unique<HoldingLanes>(held); };
  format_ = JsonFormat([&](const std::string& call) {
    if (call == "close") while_saved = held.load();
    return false;
  });
  ReopenStore();
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "sleep", "params": {"value": "0123456789"}}}})");
  Run();
  EXPECT_EQ(ran().size(), 1u);
  EXPECT_EQ(while_saved, 10);
  EXPECT_EQ(held, 0);
  Set("s.value=again");
  format_ = JsonFormat([](const std::string& call) { return call == "close"; });
  ReopenStore();
  Run();
  EXPECT_EQ(failed().size(), 1u);
  EXPECT_EQ(held, 0) << "what could not be saved is let go, too";
}

TEST_F(SchedulingTest, WhatAStepTakesMayDependOnItsInputs) {
  devices_.assign(4, Device{});
  memory_bytes_["cpu"] = uint64_t{100} << 20;
  Load(R"({"puzzle": 1, "nodes": {
    "forty": {"kind": "text", "params": {"value": "0123456789012345678901234567890123456789"}},
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 8]}}, "in": {"in": "forty"},
          "params": {"value": "${i}", "ms": 10}}}})");
  Run();  // a step takes a MiB for every letter of its input
  EXPECT_EQ(ran().size(), 9u);
  EXPECT_EQ(playground_.peak, 2);
}

TEST_F(SchedulingTest, ARecordedPeakCountsWhenItIsMoreThanTheKindDeclares) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "sleep", "foreach": {"i": [1, 2]},
           "params": {"value": "${i}", "memory_mib": 3}}}})");
  playground_.on_start = [](const std::string& what) {
    static std::vector<std::unique_ptr<std::vector<char>>> kept;  // what a step holds
    if (what == "sleep 1")
      kept.push_back(std::make_unique<std::vector<char>>(size_t{64} << 20, 'x'));
  };
  Set("s.ms=0");
  Set("s[i=1].ms=1");
  Run();
  const auto record = RecordJson(report().steps[Find("s[i=1]")].record);
  playground_.on_start = nullptr;
#ifndef __SANITIZE_ADDRESS__
  EXPECT_GE(record["memory_mib"].get<double>(), 60);
  Set("s.value=again${i}");
  Plan();
  const Forecast forecast = MarkStale(*plan_, *store_);
  const uint64_t peak = RecordedPeaks(*plan_, forecast, *store_)[0];
  EXPECT_GE(peak, uint64_t{60} << 20);
  const auto no_input = [](StepId) -> const Record& { throw BugError("it has no inputs"); };
  StepForecast foreseen;
  const auto demand = [&](uint64_t recorded) {
    return EstimateDemand(*plan_, Find("s[i=2]"), foreseen, recorded, no_input);
  };
  EXPECT_EQ(demand(peak).memory_bytes, peak);
  EXPECT_EQ(demand(0).memory_bytes, uint64_t{3} << 20);
  foreseen.memory_bytes = uint64_t{4} << 20;
  foreseen.shared_bytes = 7;
  EXPECT_EQ(demand(0).memory_bytes, uint64_t{4} << 20);
  EXPECT_EQ(demand(0).shared_bytes, 7u);
  EXPECT_EQ(demand(peak).memory_bytes, peak);
#endif
}

TEST_F(SchedulingTest, OutOfMemoryIsTriedAgainAloneOnItsDevice) {
  devices_.assign(3, Device{});
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 9]}}, "params": {"value": "${i}", "ms": 5}},
    "end": {"kind": "concat", "in": {"parts": ["s"]}}}})");
  std::atomic<int> thrown{0};
  playground_.on_start = [&](const std::string& what) {
    if (what == "sleep 4" && thrown++ == 0) throw std::bad_alloc();
    EXPECT_TRUE(what != "sleep 4" || playground_.running == 1);
  };
  Run();
  EXPECT_EQ(ran().size(), 10u);
  EXPECT_THAT(observer_.lines, Contains("again s[i=4]: alone on its device"));
  EXPECT_EQ(RecordJson(report().steps[Find("s[i=4]")].record)["warnings"][0], "out of memory");
}

TEST_F(SchedulingTest, OutOfMemoryEvenAloneFailsTheStep) {
  options_.keep_going = true;
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": [1, 2]}, "params": {"value": "${i}"}}}})");
  playground_.on_start = [](const std::string& what) {
    if (what == "sleep 1") throw std::bad_alloc();
  };
  Run();
  EXPECT_EQ(failed(), Steps("s[i=1]"));
  EXPECT_EQ(ran(), Steps("s[i=2]"));
  EXPECT_EQ(report().steps[Find("s[i=1]")].message,
            "cpu: out of memory, also with nothing else on it");
  EXPECT_EQ(std::count(observer_.lines.begin(), observer_.lines.end(), "start s[i=1]"), 2);
}

/// What a device library throws.
class Broken : public Error {
 public:
  using Error::Error;
};

class LostDeviceTest : public SchedulingTest {
 protected:
  LostDeviceTest() {
    options_.keep_going = true;
    options_.classify = [](const std::exception& error) {
      return dynamic_cast<const Broken*>(&error) != nullptr ? FailureKind::kDeviceLost
                                                            : FailureKind::kOrdinary;
    };
    Load(R"({"puzzle": 1, "nodes": {
      "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 8]}},
            "params": {"value": "${i}", "ms": 5}},
      "h": {"kind": "text", "params": {"value": "on the host"}},
      "end": {"kind": "concat", "in": {"parts": ["s"]}}}})");
  }
};

TEST_F(LostDeviceTest, RetiresItsLaneAndTheStepGoesToAnotherOne) {
  devices_ = {Device{"cuda", 0}, Device{"cuda", 1}};
  std::mutex mutex;
  bool broken = false;
  playground_.on_start = [&](const std::string& what) {
    const std::scoped_lock lock(mutex);
    if (what == "sleep 2" && !std::exchange(broken, true)) throw Broken("CUDA error: lost");
  };
  std::string bad_lane;
  observer_.also = [&](const RunEvent& event) {
    if (event.type == RunEvent::Type::kStepRetried) bad_lane = observer_.lanes["s[i=2]"];
  };
  Run();
  EXPECT_EQ(ran().size(), 10u);
  EXPECT_THAT(observer_.lines, Contains("again s[i=2]: on another lane"));
  EXPECT_THAT(observer_.warnings,
              ElementsAre(fmt::format("{} on {} is lost, found by s[i=2]: CUDA error: lost",
                                      bad_lane.substr(0, bad_lane.find('#')), HostName())));
  const auto begin =
      std::find(observer_.lines.begin(), observer_.lines.end(), "again s[i=2]: on another lane");
  for (auto line = begin; line != observer_.lines.end(); ++line) {
    EXPECT_FALSE(line->starts_with("start s") && observer_.lanes[line->substr(6)] == bad_lane);
  }
}

TEST_F(LostDeviceTest, WithoutALaneOfItsKindStepsFailClearlyAndTheHostGoesOn) {
  devices_ = {Device{"cuda", 0}};
  playground_.on_start = [](const std::string& what) {
    if (what.starts_with("sleep")) throw Broken("CUDA error: lost");
  };
  Run();
  EXPECT_EQ(failed().size(), 8u);
  EXPECT_EQ(ran(), Steps("h"));
  EXPECT_EQ(skipped(), Steps("end"));
  EXPECT_THAT(report().steps[Find(Started().front() == "h" ? Started()[1] : Started()[0])].message,
              HasSubstr("lane (left) for it; before: CUDA error: lost"));
}

TEST_F(LostDeviceTest, AStepThatBreaksTwoLanesFails) {
  devices_ = {Device{"cuda", 0}, Device{"cuda", 1}, Device{"cuda", 2}};
  playground_.on_start = [](const std::string& what) {
    if (what == "sleep 3") throw Broken("CUDA error: device-side assert");
  };
  Run();
  EXPECT_EQ(failed(), Steps("s[i=3]"));
  EXPECT_EQ(ran().size(), 8u);
  EXPECT_EQ(observer_.warnings.size(), 2u);
}

TEST_F(SchedulingTest, AStepThatNeedsADeviceThatIsNotThereFailsClearly) {
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "params": {"device": "cuda"}}}})");
  Run();
  EXPECT_EQ(report().steps[0].message, "there is no cuda lane (left) for it");
}

}  // namespace
}  // namespace puzzle::testing
