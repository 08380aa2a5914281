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
#include "graph/flow.h"
#include "graph/resident.h"

namespace puzzle {

/// Runs steps of one plan.
class StepRunner final : public StepWork {
 public:
  StepRunner(const Plan& plan, const Forecast& forecast, Store& store, Observer* observer,
             const ExecuteOptions& options);
  ~StepRunner() override;

  Next Prepare(StepId id) override;
  Verdict Compute(StepId id, Lane& lane) override;
  [[nodiscard]] bool Waits(StepId id) const override;
  void Finish(StepId id) override;
  void Refuse(StepId id, const std::string& why) override;
  [[nodiscard]] std::vector<uint64_t> InputNumbers(StepId id) const override;

  /// Announces the beginning, and the end with the report. Called once each, around everything.
  void Start(size_t lanes);
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
  bool TakeClaim(StepId id, Flight& flight);
  Verdict Judge(StepId id, Lane& lane, Flight& flight);
  [[nodiscard]] FailureKind Classify(const std::exception_ptr& failure) const;
  /// False for what Judge decides.
  [[nodiscard]] bool MayRetry(const NodeKind& kind, const std::exception_ptr& failure) const;
  RecordDraft Describe(StepId id, const Flight& flight) const;
  /// What decides the result, once the inputs have theirs.
  [[nodiscard]] std::string Recipe(StepId id) const;
  [[nodiscard]] RecordDraft Described(StepId id, const std::string& recipe) const;
  /// Makes `earlier` the result of a step in spite of `change`; warns when that fails.
  bool Adopt(StepId id, const Record& earlier, const std::string& change);
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
