// `assemble`: the parent with the chosen variants in place.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// Reads only the blocks that were chosen. Throws Error when one of them was not trained, or twice.
[[nodiscard]] Checkpoint RunAssemble(const AssembleParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
