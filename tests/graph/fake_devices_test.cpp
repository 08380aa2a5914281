// Lanes that pretend to be GPUs, with memories of their own: what several devices mean for a run.
#include <fmt/format.h>

#include <map>
#include <mutex>
#include <thread>

#include "graph/store/locks.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What works on a device occupy together.
struct Load {
  uint64_t used = 0, most = 0;
  int running = 0, most_beside_large = 0;
};

TEST(FakeDevicesTest, EachDeviceAdmitsWhatItsOwnMemoryHolds) {
  constexpr uint64_t kSmall = 4, kLarge = 40;
  const std::map<std::string, uint64_t> limits = {{"cuda:0", 9}, {"cuda:1", 13}};
  std::mutex mutex;
  std::map<std::string, Load> loads;
  int ran = 0;
  {
    LocalLanesOptions options;
    for (const int index : {0, 0, 0, 0, 1, 1, 1, 1}) options.devices.push_back({"cuda", index});
    options.memory_bytes = limits;
    LocalLanes lanes(std::move(options));
    for (uint64_t order = 0; order < 64; ++order) {
      LaneWork work;
      work.order = order;
      const bool large = order % 16 == 7;
      work.memory_bytes = large ? kLarge : kSmall;
      work.device_type = "cuda";
      work.run = [&, large](Lane& lane) {
        std::unique_lock lock(mutex);
        Load& load = loads[lane.device().name()];
        load.used += large ? kLarge : kSmall;
        if (!large) load.most = std::max(load.most, load.used);
        if (large) load.most_beside_large = std::max(load.most_beside_large, load.running);
        ++load.running;
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        lock.lock();
        load.used -= large ? kLarge : kSmall;
        --load.running;
        ++ran;
      };
      work.refuse = [](const std::string& why) { FAIL() << why; };
      lanes.Post(std::move(work));
    }
  }
  EXPECT_EQ(ran, 64);
  ASSERT_EQ(loads.size(), 2u) << "both had work";
  EXPECT_LE(loads["cuda:0"].most, 8u) << "two small ones";
  EXPECT_LE(loads["cuda:1"].most, 12u) << "three";
  EXPECT_GT(loads["cuda:1"].most, 4u) << "beside each other";
  for (const auto& [device, load] : loads) EXPECT_EQ(load.most_beside_large, 0) << device;
}

/// What a device library throws.
class FellOffTheBus : public Error {
 public:
  using Error::Error;
};

/// A graph on three lanes of two devices, one of which breaks every step.
class LostFakeDeviceTest : public GraphTest {
 protected:
  LostFakeDeviceTest() {
    options_.keep_going = true;
    options_.classify = [](const std::exception& error) {
      return dynamic_cast<const FellOffTheBus*>(&error) != nullptr ? FailureKind::kDeviceLost
                                                                   : FailureKind::kOrdinary;
    };
    observer_.also = [this](const RunEvent& event) {
      if (event.type != RunEvent::Type::kStepStarted) return;
      const std::scoped_lock lock(mutex_);
      lane_of_thread_[std::this_thread::get_id()] = event.lane;
    };
    playground_.on_start = [this](const std::string& what) {
      const std::scoped_lock lock(mutex_);
      if (!what.starts_with("sleep")) return;
      if (lane_of_thread_[std::this_thread::get_id()].starts_with(broken_)) {
        ++broken_steps_;
        throw FellOffTheBus("CUDA error: unknown error");
      }
    };
    Load(R"({"puzzle": 1, "nodes": {
      "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 24]}}, "params": {"value": "${i}", "ms": 2}},
      "end": {"kind": "concat", "in": {"parts": ["s"]}}}})");
  }

  std::string broken_;
  int broken_steps_ = 0;

 private:
  std::mutex mutex_;
  std::map<std::thread::id, std::string> lane_of_thread_;
};

TEST_F(LostFakeDeviceTest, ADeviceThatBreaksEveryStepIsSaidOnceAndTheOthersGoOn) {
  devices_ = {Device{"cuda", 0}, Device{"cuda", 1}, Device{"cuda", 1}};
  broken_ = "cuda:1";
  Run();
  EXPECT_EQ(ran().size(), 25u);
  EXPECT_GE(broken_steps_, 1);
  EXPECT_LE(broken_steps_, 2) << "a lane each at most";
  EXPECT_THAT(observer_.warnings,
              ElementsAre(AllOf(HasSubstr("cuda:1 on " + HostName() + " is lost, found by s[i="),
                                HasSubstr(": CUDA error: unknown error"))));
}

TEST_F(LostFakeDeviceTest, WithoutAnotherDeviceEveryStepSaysThatNoLaneIsLeft) {
  devices_ = {Device{"cuda", 1}, Device{"cuda", 1}};
  broken_ = "cuda:1";
  Run();
  EXPECT_EQ(failed().size(), 24u);
  EXPECT_EQ(skipped().size(), 1u);
  EXPECT_EQ(observer_.warnings.size(), 1u);
  for (const StepResult& step : report().steps) {
    if (step.outcome != Outcome::kFailed) continue;
    EXPECT_THAT(step.message,
                AnyOf(HasSubstr("no lane is left"), HasSubstr("there is no cuda lane (left)")));
  }
}

}  // namespace
}  // namespace puzzle::testing
