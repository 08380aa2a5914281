// `quantize`: a model as readers of its GGUF file see it.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/precision/kinds.h"

namespace puzzle {

/// Matrices go through the types of `precision`, or all but `parts` through one; the figure
/// kFileMib says how large the GGUF file is. Throws Error for a precision of a model with other
/// parts, and as StoredAs.
[[nodiscard]] Checkpoint RunQuantize(const QuantizeParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
