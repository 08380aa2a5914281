// Lanes that a test moves by hand.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/run/lanes.h"

namespace puzzle::testing {

/// A lane that is whatever thread calls it.
class BareLane final : public Lane {
 public:
  [[nodiscard]] const Device& device() const override { return device_; }
  [[nodiscard]] const std::string& name() const override { return name_; }
  void Adapt() override {}
  [[nodiscard]] int threads() const override { return 1; }
  void Retire() override {}

 private:
  Device device_;
  std::string name_ = "manual";
};

/// Nothing runs before the test says so. Thread-safe.
class ManualLanes final : public Lanes {
 public:
  void Post(LaneWork work) override {
    const std::scoped_lock lock(mutex_);
    ready_.emplace(static_cast<StepId>(work.order), std::move(work));
    posted_.notify_all();
  }
  [[nodiscard]] size_t size() const override { return 2; }
  [[nodiscard]] QuietGate& gate() override { return gate_; }

  /// Waits until `count` steps are ready at once; returns them.
  std::vector<StepId> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    posted_.wait_for(lock, std::chrono::seconds(20), [&] { return ready_.size() >= count; });
    std::vector<StepId> ids;
    for (const auto& [id, work] : ready_) ids.push_back(id);
    return ids;
  }
  /// Waits until the step is ready, then runs it here.
  void Finish(StepId id) {
    std::unique_lock lock(mutex_);
    posted_.wait_for(lock, std::chrono::seconds(20), [&] { return ready_.contains(id); });
    LaneWork work = std::move(ready_.at(id));
    ready_.erase(id);
    lock.unlock();
    BareLane lane;
    const QuietGuard guard(gate_, work.quiet ? QuietGate::Pass::kQuiet : QuietGate::Pass::kLane);
    work.run(lane);
  }

 private:
  QuietGate gate_;
  std::mutex mutex_;
  std::condition_variable posted_;
  std::map<StepId, LaneWork> ready_;
};

/// One thread that takes ready work in random order.
class ShuffledLanes final : public Lanes {
 public:
  explicit ShuffledLanes(unsigned seed) : random_(seed), thread_([this] { Serve(); }) {}
  ~ShuffledLanes() override {
    {
      const std::scoped_lock lock(mutex_);
      closing_ = true;
    }
    posted_.notify_all();
    thread_.join();
  }
  void Post(LaneWork work) override {
    const std::scoped_lock lock(mutex_);
    ready_.push_back(std::move(work));
    posted_.notify_all();
  }
  [[nodiscard]] size_t size() const override { return 1; }
  [[nodiscard]] QuietGate& gate() override { return gate_; }

 private:
  void Serve() {
    BareLane lane;
    while (true) {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [&] { return closing_ || !ready_.empty(); });
      if (ready_.empty()) return;
      std::swap(ready_[random_() % ready_.size()], ready_.back());
      LaneWork work = std::move(ready_.back());
      ready_.pop_back();
      lock.unlock();
      const QuietGuard guard(gate_, work.quiet ? QuietGate::Pass::kQuiet : QuietGate::Pass::kLane);
      work.run(lane);
    }
  }

  QuietGate gate_;
  std::mutex mutex_;
  std::condition_variable posted_;
  std::vector<LaneWork> ready_;
  bool closing_ = false;
  std::mt19937 random_;
  std::thread thread_;
};

}  // namespace puzzle::testing
