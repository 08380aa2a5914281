// The Lagrangian bound of a multiple-choice problem: every limit's resource gets a price, and
// whatever the prices, no choice within the limits scores below
//   sum over groups of min (score + price * cost)  -  sum over limits of price * limit.
// The best prices are found by column generation, which for this problem is the LP bound.
// Thread-safe.
#pragma once

#include <vector>

#include "nodes/solver/mip_clock.h"
#include "nodes/solver/mip_core.h"

namespace puzzle {

/// Prices in the core's units. A positive price pushes a total below `high`, a negative one above
/// `low`.
struct LagrangeBound {
  double bound = 0;            // in the core's score; valid whatever the prices are
  std::vector<double> prices;  // per row
  bool infeasible = false;     // proven: no choice is within the limits
};

/// `start`: prices to begin with, or empty. Stops early when `clock` does, with a bound that is
/// merely weaker. REQUIRES: core.feasible.
[[nodiscard]] LagrangeBound MaximizeLagrangian(const MipCore& core,
                                               const std::vector<double>& start,
                                               const MipClock& clock);

}  // namespace puzzle
