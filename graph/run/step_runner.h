// What becomes of the steps of a plan, without the question of when: closing a key, computing or
// finding the result, publishing it. Used by the executor.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/run/executor.h"
#include "graph/run/flight.h"
#include "graph/run/flow.h"
#include "graph/run/run_scope.h"

namespace puzzle {

/// Runs steps of one plan.
class StepRunner final : public StepWork {
 public:
  StepRunner(const Plan& plan, const Forecast& forecast, Store& store, Observer* observer,
             const ExecuteOptions& options);

  Next Prepare(StepId id) override;
  Verdict Compute(StepId id, Lane& lane) override;
  [[nodiscard]] bool Waits(StepId id) const override;
  void Finish(StepId id) override;
  void Refuse(StepId id, const std::string& why) override;
  [[nodiscard]] Resources Demand(StepId id) override;
  [[nodiscard]] uint64_t ResultBytes(StepId id) const override;
  [[nodiscard]] std::vector<uint64_t> InputNumbers(StepId id) const override;

  /// Announces the beginning, and the end with the report. Called once each, around everything.
  void Start(size_t lanes);
  [[nodiscard]] Report TakeReport();

  /// Looks up what the steps of every node occupied in the past, for Demand.
  void RecallMemory();
  /// Nothing else is to begin. Thread-safe.
  [[nodiscard]] bool Stopping() const { return run_.Stopping(); }
  /// Says that something is wrong with the run but no reason to fail.
  void Warn(const std::string& message) { run_.announcer.Warn(std::nullopt, message); }

 private:
  void Settle(StepId id, StepResult result);
  /// The outcome of a step that the current exception ended.
  void SettleFailure(StepId id, double wall_s);
  Next CloseKey(StepId id, Flight& flight);
  /// Makes the last result of a step count again, where the user wants that.
  bool AcceptEarlier(StepId id, const HitTest& test, const std::string& recipe);
  Record Save(StepId id, Flight& flight);
  RecordDraft Describe(StepId id, const Flight& flight) const;
  /// What decides the result, once the inputs have theirs.
  [[nodiscard]] std::string Recipe(StepId id) const;
  [[nodiscard]] RecordDraft Described(StepId id, const std::string& recipe) const;
  /// Makes `earlier` the result of a step in spite of `change`; warns when that fails.
  bool Adopt(StepId id, const Record& earlier, const std::string& change);

  RunScope run_;
  const std::string host_;
  std::vector<std::unique_ptr<Flight>> flights_;  // per step, while it runs
  std::vector<uint64_t> recorded_bytes_;          // per node
};

}  // namespace puzzle
