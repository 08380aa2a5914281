// Arithmetic of limits that the solver (nodes/mip.cpp) and its explanations share. Thread-safe.
#pragma once

#include <string>

#include "nodes/mip.h"

namespace puzzle {

/// What the choices of a problem can add up to, `fixed` included.
struct MipReach {
  double least = 0;
  double most = 0;
  double magnitude = 0;  // largest sum of absolute values: what rounding errors scale with
};
[[nodiscard]] MipReach ReachOf(const MipProblem& problem, size_t limit);

/// `bound` moved by what still counts as keeping it: up for `direction` 1, down for -1.
[[nodiscard]] double Loosened(double bound, double direction, double magnitude);

/// Throws what SolveMip promises to throw.
void CheckMipProblem(const MipProblem& problem);

/// Why nothing is within the limits, and the nearest value of one limit that would work.
/// REQUIRES: the problem is infeasible.
[[nodiscard]] std::string ExplainInfeasible(const MipProblem& problem, double time_limit_s);

}  // namespace puzzle
