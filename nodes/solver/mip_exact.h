// The exact solver: dominance, Lagrangian bound, label search within a growing distance of that
// bound, and CBC on what reduced scores leave when the labels become too many. Thread-safe.
#pragma once

#include "nodes/solver/mip.h"
#include "nodes/solver/mip_clock.h"

namespace puzzle {

/// Status, choice, objective, bound and multipliers are set, no explanation. `hint` only saves
/// time. REQUIRES: what CheckMipProblem demands.
[[nodiscard]] MipSolution SolveExactly(const MipProblem& problem, const MipHint& hint,
                                       const MipClock& clock);

}  // namespace puzzle
