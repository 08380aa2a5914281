// A depth-first search in constant memory: what can be proven by our own arithmetic where the label
// search would need too many labels and another solver's word is not enough. Thread-safe.
#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "nodes/solver/lagrange.h"
#include "nodes/solver/mip_clock.h"
#include "nodes/solver/mip_core.h"

namespace puzzle {

struct DepthFirstResult {
  bool complete = false;  // every choice that could score below the threshold was considered
  double score = std::numeric_limits<double>::infinity();  // of `columns`, in the core's units
  std::vector<int> columns;  // per group: the best choice found; empty when there was none
};

/// The best choice that scores below `threshold` and that `accepts`, which has the last word about
/// limits, takes. Stops incomplete after `max_nodes` partial choices or when `clock` does.
/// REQUIRES: core.feasible.
[[nodiscard]] DepthFirstResult SearchDepthFirst(
    const MipCore& core, const LagrangeBound& lagrange, double threshold, size_t max_nodes,
    const std::function<bool(const std::vector<int>& columns)>& accepts, const MipClock& clock);

}  // namespace puzzle
