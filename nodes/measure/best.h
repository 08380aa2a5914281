// `best`: of several models the one that was measured to be closest to its parent. Searches add
// scores up, which is an approximation; this looks at what came out.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// Throws Error when a model has no evaluation against its parent, or a KL that is not a number.
[[nodiscard]] Checkpoint RunBest(const BestParams& params, const Inputs& inputs,
                                 RunContext& context);

}  // namespace puzzle
