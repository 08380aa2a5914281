// Blocks whose insides are not kept for the gradients but computed again (activation
// checkpointing). Thread-safe on different inputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/fused_blocks.h"

namespace puzzle {

/// model.Blocks(x, first, last), differentiable in the same tensors. Only the input of each block
/// is kept for the gradients, and the block is computed once more when they are asked for: values
/// and gradients have the same bits, memory is that of one block, and a training step costs one
/// more forward pass. Second derivatives are not supported. With `rounded` the same holds for
/// FusedBlocks.
[[nodiscard]] at::Tensor RecomputedBlocks(const Transformer& model, at::Tensor x, int64_t first,
                                          int64_t last, const RoundedBlocks& rounded = nullptr);

}  // namespace puzzle
