// `load_model`: a checkpoint folder becomes a checkpoint artifact.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/kinds.h"

namespace puzzle {

/// Reads weights and tokenizer (when the folder has one).
[[nodiscard]] Checkpoint RunLoadModel(const LoadModelParams& params, const Inputs& inputs,
                                      RunContext& context);

}  // namespace puzzle
