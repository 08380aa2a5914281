// What the steps of a plan will occupy: what their kinds declare, corrected by what was recorded.
// Thread-compatible.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"
#include "graph/store/store.h"

namespace puzzle {

/// Per node with steps to run on a lane: the largest peak of memory on record among its steps. A
/// single record may miss what the allocator had kept from an earlier step.
[[nodiscard]] std::vector<uint64_t> RecordedPeaks(const Plan& plan, const Forecast& forecast,
                                                  Store& store);

/// What a step on a lane will occupy: its memory is the largest one of `recorded`, of what its kind
/// declares, and of what `foreseen` has by sizes. `record_of` tells the result of an input.
[[nodiscard]] Resources EstimateDemand(const Plan& plan, StepId step, const StepForecast& foreseen,
                                       uint64_t recorded,
                                       const std::function<const Record&(StepId)>& record_of);

/// Why steps that have to run cannot on lanes of these devices: the first that takes more lanes
/// together than there are. "": nothing is wrong. Steps that have a result of before and may keep
/// it are left out.
[[nodiscard]] std::string ComplaintAboutLanes(const Plan& plan, const Forecast& forecast,
                                              const std::vector<Device>& devices, Store& store);

}  // namespace puzzle
