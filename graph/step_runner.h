// What it takes to run one step, without the question of when: closing its key, collecting inputs,
// calling its body, saving and publishing its result. Used by the executor.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graph/executor.h"
#include "graph/resident.h"

namespace puzzle {

/// Runs steps of one plan. The three calls of one step happen one after another, on any threads;
/// different steps may be in different threads at once. Nothing throws.
class StepRunner {
 public:
  StepRunner(const Plan& plan, const Forecast& forecast, Store& store, Observer* observer,
             const ExecuteOptions& options);
  ~StepRunner();

  enum class Next { kDone, kHost, kDevice };
  /// Closes the key and looks for a result. kDone when the step has its outcome already.
  /// REQUIRES: all inputs have their outcome.
  Next Prepare(StepId id);
  /// Calls the body. REQUIRES: Prepare did not say kDone.
  void Compute(StepId id, Lane& lane);
  /// Saves and publishes; the step has its outcome afterwards. REQUIRES: Compute was called.
  void Finish(StepId id);

  /// Announces the beginning, and the end with the report. Called once each, around everything.
  void Start();
  [[nodiscard]] Report TakeReport();

  /// Says that something is wrong but no reason to fail.
  void Warn(const StepId* id, const std::string& message);

 private:
  class Context;
  class Handle;
  class PortInputs;
  struct Flight;

  [[nodiscard]] double Now() const;
  void Emit(RunEvent event);
  void Settle(StepId id, StepResult result);
  void SettleFailure(StepId id, double wall_s);
  Next CloseKey(StepId id, Flight& flight);
  RecordDraft Describe(StepId id, const Flight& flight) const;
  ResidentCache& CacheOf(const Device& device);
  [[nodiscard]] bool Stopping() const;

  const Plan& plan_;
  const Forecast& forecast_;
  Store& store_;
  Observer* const observer_;
  const ExecuteOptions& options_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::string host_;
  Report report_;
  std::vector<std::unique_ptr<Flight>> flights_;  // per step, while it runs
  std::atomic<bool> failed_{false};
  std::mutex events_;  // one event at a time; also guards report_.warnings
  std::mutex caches_mutex_;
  std::map<std::string, std::unique_ptr<ResidentCache>> caches_;  // by device, one for all CPUs
};

}  // namespace puzzle
