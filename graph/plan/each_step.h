// One pass over the steps of a plan, on several threads.
#pragma once

#include <functional>

#include "graph/plan/plan.h"

namespace puzzle {

/// Calls `visit` once per step, after the calls for its inputs have returned. Steps that do not
/// depend on each other may be visited at once, on different threads, when there are enough of them
/// to be worth it. Rethrows what a call throws, when all threads are done.
void ForEachStep(const Plan& plan, const std::function<void(StepId)>& visit);

}  // namespace puzzle
