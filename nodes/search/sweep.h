// `sweep`: the best children for many budgets and batch sizes in one step.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/search/artifacts.h"
#include "nodes/search/kinds.h"

namespace puzzle {

[[nodiscard]] FrontierArtifact RunSweep(const SweepParams& params, const Inputs& inputs,
                                        RunContext& context);

}  // namespace puzzle
