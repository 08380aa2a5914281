// Waits for what other runs compute, without a thread per step: looks at the claims again and
// again, and hands every step back whose wait is over. Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "graph/plan/plan.h"

namespace puzzle {

class ClaimWatch {
 public:
  /// `waits` says whether a step has to wait still, and must not throw; `resume` is called once per
  /// Add, on the thread of the watch. A request to `stop` has the steps looked at without delay.
  ClaimWatch(std::function<bool(StepId)> waits, std::function<void(StepId)> resume,
             std::stop_token stop);
  /// REQUIRES: every step was handed back.
  ~ClaimWatch();

  void Add(StepId id);

 private:
  void Serve();

  const std::function<bool(StepId)> waits_;
  const std::function<void(StepId)> resume_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<StepId> added_;
  bool closing_ = false;
  const std::stop_token stop_;
  std::thread thread_;  // started by the first Add
};

}  // namespace puzzle
