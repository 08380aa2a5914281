// The results at the ports of a step that runs. Thread-safe.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/run/run_scope.h"

namespace puzzle {

/// What a consumer sees always comes from the archive, never straight from the memory of the step
/// that made it: rounding on the way to disk must not make a fresh run differ from a resumed one.
/// Loaded values stay in the caches of the run.
class StepInputs final : public Inputs {
 public:
  /// REQUIRES: every input of the step has a result. `run` outlives this object.
  StepInputs(RunScope& run, StepId id);

 protected:
  [[nodiscard]] std::vector<std::shared_ptr<const InputHandle>> Handles(
      std::string_view port) const override;

 private:
  const std::vector<PortSpec>& ports_;
  std::vector<std::vector<std::shared_ptr<const InputHandle>>> handles_;  // per port
};

}  // namespace puzzle
