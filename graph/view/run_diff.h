// Two runs side by side: which results differ, why, and by how much. Thread-compatible.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/plan/explain.h"
#include "graph/store/store.h"
#include "graph/view/run_log.h"

namespace puzzle {

/// A step that differs between two runs.
struct StepDifference {
  enum class What {
    kNew,      // only in the second run
    kGone,     // only in the first
    kChanged,  // another key
    kOutcome,  // the same key, or none in one of them, but another outcome that matters
  };
  What what = What::kChanged;
  std::string step;
  std::string before, after;  // outcomes
  std::vector<Cause> chain;   // why the key is another, back to the origin; may be empty
  /// Scalars of the results that differ: name, before, after, as JSON ("" where absent).
  struct Scalar {
    std::string name, before, after;
  };
  std::vector<Scalar> scalars;
  std::vector<Scalar> environment;  // likewise, of what computed them: libtorch, BLAS kernel, CPU
  double seconds_before = 0, seconds_after = 0;  // of steps that ran; 0: did not
};

struct RunDifference {
  RunLog before, after;
  std::vector<StepDifference> steps;  // in the order of the second run, then what is gone
  size_t same = 0;                    // steps with equal key and outcome
};

/// Compares `before` with `after`; results that are no longer in the store are compared by key
/// only. Cached and run count as the same outcome.
[[nodiscard]] RunDifference DiffRuns(RunLog before, RunLog after, Store& store);

[[nodiscard]] std::string DifferenceText(const RunDifference& difference);
[[nodiscard]] std::string DifferenceJson(const RunDifference& difference);

}  // namespace puzzle
