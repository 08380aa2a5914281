// `pretrain`: a model trained from scratch: a small parent for graphs that need no checkpoint, or a
// baseline of a child's shape.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// Trains a Llama of the given shape, or a model of the shape at port `like`, on next-token
/// prediction (AdamW, cosine schedule). Throws Error when the tokens do not fit that shape.
[[nodiscard]] Checkpoint RunPretrain(const PretrainParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
