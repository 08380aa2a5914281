// The whole multiple-choice program as CBC sees it: the reference for the exact solver, and what
// that solver falls back to. CBC is loaded with the first call (io/module.h). Thread-safe.
#pragma once

#include "nodes/solver/mip.h"
#include "nodes/solver/mip_clock.h"

namespace puzzle {

/// Branch and cut on all of `problem`. Only choices with a score below `cutoff` are of interest:
/// kInfeasible means that there are none of these. Status, choice, objective and bound are set, no
/// explanation. REQUIRES: what CheckMipProblem demands.
[[nodiscard]] MipSolution SolveWithCbc(const MipProblem& problem, const MipClock& clock,
                                       double cutoff = std::numeric_limits<double>::infinity());

}  // namespace puzzle
