// `pretrain`: a small parent trained from scratch, for graphs that need no checkpoint.
#pragma once

#include "graph/kind/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

/// Trains a Llama of the given shape on next-token prediction (AdamW, cosine schedule).
[[nodiscard]] Checkpoint RunPretrain(const PretrainParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
