// The order of a run, apart from what its steps do: every step after its inputs, host work on the
// threads of oneTBB, device work on lanes. Implemented in executor.cpp, the one home of oneTBB.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"
#include "graph/run/lanes.h"

namespace puzzle {

/// Knows how to run steps. The calls about one step come one after another, on any threads;
/// different steps may be in different threads at once. Nothing throws.
class StepWork {
 public:
  virtual ~StepWork() = default;

  enum class Next { kDone, kHost, kDevice };
  /// Closes the key and looks for a result. kDone when the step has its outcome already.
  /// REQUIRES: all inputs have their outcome.
  virtual Next Prepare(StepId id) = 0;

  enum class Verdict {
    kFinish,          // Finish has to follow
    kTryAlone,        // ran out of memory: to be computed again, alone on a device
    kTryAnotherLane,  // this lane is of no use any more and has retired
    kWait,            // nothing was done: another run computes the same. Prepare has to follow
                      // when Waits is over
  };
  /// Claims the key and calls the body. REQUIRES: Prepare did not say kDone.
  virtual Verdict Compute(StepId id, Lane& lane) = 0;
  /// Whether a step whose verdict was kWait has to wait still.
  [[nodiscard]] virtual bool Waits(StepId id) const = 0;
  /// Saves and publishes; the step has its outcome afterwards. REQUIRES: Compute said kFinish.
  virtual void Finish(StepId id) = 0;
  /// The step fails because no lane can compute it.
  virtual void Refuse(StepId id, const std::string& why) = 0;

  /// What the step will occupy on its lane. REQUIRES: all inputs have a result.
  [[nodiscard]] virtual Resources Demand(StepId id) = 0;
  /// Bytes of the result that are in memory until Finish. REQUIRES: Compute said kFinish.
  [[nodiscard]] virtual uint64_t ResultBytes(StepId /*id*/) const { return 0; }
  /// The contents at a step's ports as numbers: equal content, equal number. REQUIRES: all inputs
  /// have their outcome.
  [[nodiscard]] virtual std::vector<uint64_t> InputNumbers(StepId id) const = 0;
};

/// Takes every step of `plan` that `forecast` does not call a hit through `work`, and returns when
/// all have their outcome. A request to `stop` has steps that wait looked at without delay.
void RunFlow(const Plan& plan, const Forecast& forecast, StepWork& work, Lanes& lanes,
             const std::stop_token& stop);

}  // namespace puzzle
