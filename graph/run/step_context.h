// The run as a step sees it while its body is called. Used by the thread that runs the step.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/run/flight.h"
#include "graph/run/lanes.h"
#include "graph/run/run_scope.h"

namespace puzzle {

/// For one attempt: the node's timeout counts from here.
class StepContext final : public RunContext {
 public:
  /// All of these outlive the object. Warnings and curves are noted in `flight`, whose meter takes
  /// samples; curves of an earlier attempt are forgotten.
  StepContext(RunScope& run, StepId id, Lane& lane, Flight& flight);

  [[nodiscard]] const Device& device() const override { return lane_.device(); }
  [[nodiscard]] std::vector<Device> devices() const override;
  void OnEach(const std::function<void(size_t)>& work) override { lane_.OnEach(work); }
  [[nodiscard]] uint64_t seed() const override;
  void Poll(double fraction, std::string_view note) override;
  void Warn(const std::string& message) override;
  [[nodiscard]] std::shared_ptr<const ArchiveReader> LastSavePoint() override;
  void KeepSavePoint(const std::function<void(ArchiveWriter&)>& save) override;
  [[nodiscard]] uint64_t resident_bytes() const override;
  [[nodiscard]] uint64_t memory_bytes() const override;
  [[nodiscard]] std::string ScratchPath() override;

 protected:
  [[nodiscard]] std::shared_ptr<const void> ResidentAny(
      const std::string& key, const std::function<SizedValue()>& make) override;

 private:
  void PauseSaving(double begin_s, double least_s);

  RunScope& run_;
  const StepId id_;
  Lane& lane_;
  Flight& flight_;
  const double begin_s_;
  double announced_s_;  // when progress was last
  double next_save_s_;  // when a save point is due
  bool warned_of_saving_ = false;
  bool resumes_ = false;  // from a save point; how far it was is told by the first Poll
  double begun_ = 0;      // that far
};

}  // namespace puzzle
