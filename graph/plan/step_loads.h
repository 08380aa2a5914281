// The loads of a whole plan. Thread-safe (pure functions).
#pragma once

#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/workload.h"

namespace puzzle {

/// The load of every step, those of inputs first, since sizes travel along the graph. What
/// `workload` does not know stays unknown.
[[nodiscard]] std::vector<Workload> LoadsOfSteps(const Plan& plan,
                                                 const WorkloadFunction& workload);

}  // namespace puzzle
