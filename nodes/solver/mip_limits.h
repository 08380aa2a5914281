// Arithmetic of limits that the solvers and their explanations share. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "nodes/solver/mip.h"

namespace puzzle {

/// What the choices of a problem can add up to, `fixed` included.
struct MipReach {
  double least = 0;
  double most = 0;
  /// What the rounding of sums scales with, beside the limit itself: the largest sum of absolute
  /// values where costs of both signs may cancel, else 0, since a total near the limit is as large
  /// as the limit, however large others are.
  double magnitude = 0;
};
[[nodiscard]] MipReach ReachOf(const MipProblem& problem, size_t limit);

/// `bound` moved by what still counts as keeping it: up for `direction` 1, down for -1.
[[nodiscard]] double Loosened(double bound, double direction, double magnitude);

/// Those of the options `among` of `group`, ascending, that are worth considering: none of the
/// others is ever needed, because one of these scores no worse and is no worse for any limit. Of
/// equals the first stays.
[[nodiscard]] std::vector<int> UndominatedOptions(const std::vector<MipOption>& group,
                                                  const std::vector<int>& among,
                                                  const std::vector<MipLimit>& limits);
/// The same among all options of `group`.
[[nodiscard]] std::vector<int> UndominatedOptions(const std::vector<MipOption>& group,
                                                  const std::vector<MipLimit>& limits);

/// Why nothing is within the limits, and the nearest value of every limit that would work alone.
struct MipExplanation {
  std::string text;
  std::vector<WorkableLimit> nearest;
};
/// REQUIRES: the problem is infeasible.
[[nodiscard]] MipExplanation ExplainInfeasible(const MipProblem& problem,
                                               const MipOptions& options);

}  // namespace puzzle
