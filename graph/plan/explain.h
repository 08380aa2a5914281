// Why a step would run, back to where the change began. Reads records; thread-compatible.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/reason.h"
#include "graph/plan/stale.h"
#include "graph/store/store.h"

namespace puzzle {

/// One link of the chain from a step to the change that makes it run.
struct Cause {
  std::string step;
  std::string reason;            // "waits for blocks[layer=3]", "params.lr: 3e-3 -> 1e-3", ...
  std::optional<Change> change;  // when the reason is a changed component

  /// "params.lr of blocks[layer=3] changed: 3e-3 -> 1e-3", "blocks[layer=3] is missing", ...
  [[nodiscard]] std::string Text() const;
};

struct Explanation {
  StepId step = 0;
  std::vector<Cause> chain;     // this step first, the origin last; empty for a hit
  std::vector<Change> changes;  // all that differs from the last recipe, as far as it is known
  std::optional<Record> last;   // what the step made last, or the result that is a hit
};

[[nodiscard]] Explanation Explain(const Plan& plan, const Forecast& forecast, StepId step,
                                  Store& store);
/// The chain between two results, newest step first; both recipes are in their records. Empty when
/// the keys are equal.
[[nodiscard]] std::vector<Cause> ChainBetween(const Record& before, const Record& after,
                                              Store& store);

/// {"component": "params.lr", "before": 3e-3, "after": 1e-3, "text": ...}; null where absent.
[[nodiscard]] nlohmann::ordered_json ChangeJson(const Change& change);
/// {"step", "reason", "change"}.
[[nodiscard]] nlohmann::ordered_json CauseJson(const Cause& cause);

/// A paragraph.
[[nodiscard]] std::string ExplanationText(const Plan& plan, const Forecast& forecast,
                                          const Explanation& explanation);
/// {"step", "fate", "reason", "key", "chain": [{"step", "reason", "change"}], "changes": [...],
/// "last": {"key", "finished", "wall_s"}, "expected_s", ...}.
[[nodiscard]] nlohmann::ordered_json ExplanationJson(const Plan& plan, const Forecast& forecast,
                                                     const Explanation& explanation);

/// The origin of the change for every step that is not a hit (nullptr for hits), in one pass:
/// steps share what they wait for.
[[nodiscard]] std::vector<std::shared_ptr<const Cause>> Origins(const Plan& plan,
                                                                const Forecast& forecast,
                                                                Store& store);

}  // namespace puzzle
