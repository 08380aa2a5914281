// `precision_score`: how much worse does a model get when one part of it is stored in few bits?
#pragma once

#include "graph/kind/kind.h"
#include "nodes/precision/artifacts.h"
#include "nodes/precision/kinds.h"

namespace puzzle {

/// Measures the model with the part's matrices quantised and dequantised, everything else in full
/// precision. Types whose blocks do not divide a row are left out with a warning. No options where
/// the model lacks the part. Throws Error for a layer that is not there.
[[nodiscard]] PrecisionScore RunPrecisionScore(const PrecisionScoreParams& params,
                                               const Inputs& inputs, RunContext& context);

}  // namespace puzzle
