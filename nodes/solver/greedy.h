// Choices made one step at a time: two greedy baselines, and the repair that other searches use to
// get within the limits. Thread-safe.
#pragma once

#include <optional>
#include <vector>

#include "nodes/solver/mip.h"

namespace puzzle {

/// Moves a choice step by step until it is within the limits, always by the option that costs the
/// least score per part of the violation it removes. An object belongs to one thread.
class Repairer {
 public:
  /// REQUIRES: `problem` outlives the object.
  explicit Repairer(const MipProblem& problem);

  /// False when no single step helps any more; `choice` is then as good as it got.
  bool Repair(std::vector<int>& choice) const;
  /// Takes steps that lower the score and stay within the limits until there are none, the largest
  /// gain first. REQUIRES: within the limits.
  void Improve(std::vector<int>& choice) const;

 private:
  // Sum over the limits of the part by which `totals`, after a group moves, break them.
  [[nodiscard]] double ViolationAfter(const std::vector<double>& totals, size_t group, int from,
                                      int to) const;

  const MipProblem& problem_;
  std::vector<double> low_, high_, unit_;  // per limit, loosened like WithinLimits
};

/// The Puzzle paper's greedy baseline: layers in order of their mean score, the easiest to replace
/// first; each takes its best option within an equal share of what is left of every budget. Nothing
/// when that ends outside the limits.
[[nodiscard]] std::optional<std::vector<int>> ShareGreedy(const MipProblem& problem);

/// Starts with every group's best option, repairs, then improves.
[[nodiscard]] std::optional<std::vector<int>> EfficiencyGreedy(const MipProblem& problem);

}  // namespace puzzle
