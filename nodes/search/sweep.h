// `sweep`: the best children for many budgets and batch sizes in one step.
#pragma once

#include "graph/kind/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

[[nodiscard]] FrontierArtifact RunSweep(const SweepParams& params, const Inputs& inputs,
                                        RunContext& context);

}  // namespace puzzle
