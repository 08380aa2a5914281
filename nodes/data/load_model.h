// `load_model`: a checkpoint folder becomes a checkpoint artifact.
#pragma once

#include "graph/kind/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

/// Reads weights and tokenizer (when the folder has one).
[[nodiscard]] Checkpoint RunLoadModel(const LoadModelParams& params, const Inputs& inputs,
                                      RunContext& context);

}  // namespace puzzle
