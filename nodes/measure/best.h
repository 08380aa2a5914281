// `best`: of several models the one that was measured to be closest to its parent, or the smallest
// that was measured to lose little enough. Searches add scores up, which is an approximation; this
// looks at what came out.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// Throws Error when a model has no evaluation against its parent, or a figure that is not a
/// number; with `within`, when no model is within it (saying which comes nearest). The parent may
/// be among the models then: the one whose evaluation has no parent.
[[nodiscard]] Checkpoint RunBest(const BestParams& params, const Inputs& inputs,
                                 RunContext& context);

}  // namespace puzzle
