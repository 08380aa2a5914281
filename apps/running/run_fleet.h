// A run whose steps are computed by workers: what they are told, and the front that follows them.
#pragma once

#include <cstdint>
#include <string>

#include "apps/running/run.h"
#include "graph/run/report.h"

namespace puzzle {

/// What of the options cannot be with several workers, or without; "" when all is well.
[[nodiscard]] std::string ComplaintAboutFleet(const RunOptions& options);

/// Runs what is not a hit by the workers of `options.on`. `memory_bytes`: what workers of this
/// machine may use together. Throws Error when nothing can begin.
[[nodiscard]] Report ExecuteOnFleet(const Plan& plan, const Forecast& forecast, Store& store,
                                    const RunOptions& options, uint64_t memory_bytes,
                                    RunOutputs& outputs);

}  // namespace puzzle
