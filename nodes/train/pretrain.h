// `pretrain`: a small parent trained from scratch, for graphs that need no checkpoint.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// Trains a Llama of the given shape on next-token prediction (AdamW, cosine schedule).
[[nodiscard]] Checkpoint RunPretrain(const PretrainParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
