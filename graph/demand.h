// What the steps of a plan will occupy: what their kinds declare, corrected by what was recorded.
// Thread-compatible.
#pragma once

#include <vector>

#include "graph/plan.h"
#include "graph/stale.h"
#include "graph/store.h"

namespace puzzle {

/// Per step, for steps that may run on a lane. The memory is the larger one of what the kind
/// declares and of the largest peak on record among the steps of the node: a single record may
/// miss what the allocator had kept from an earlier step.
[[nodiscard]] std::vector<Resources> EstimateDemand(const Plan& plan, const Forecast& forecast,
                                                    Store& store);

}  // namespace puzzle
