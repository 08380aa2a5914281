// Blocks of a training whose products are in bf16, on the CPU: sub-blocks of the usual form as one
// function each (model/block/fused.h). Thread-safe on different inputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/transformer.h"

namespace puzzle {

/// The blocks of a model with their matrices in bf16, without history.
using RoundedBlocks = std::shared_ptr<const std::vector<BlockWeights>>;

/// Of a model as it is now, layer by layer; null unless CanBeRounded: then WithProductsIn serves.
/// With a `room`, bf16 [RoundedElements], the matrices lie there, in the place of those that were
/// there.
[[nodiscard]] RoundedBlocks Rounded(const Transformer& model, const at::Tensor& room = {});
/// Whether all its full sub-blocks are of the usual form, and it is on a CPU.
[[nodiscard]] bool CanBeRounded(const Transformer& model);
/// Elements of all matrices of its blocks.
[[nodiscard]] int64_t RoundedElements(const Transformer& model);

/// A whole block of weights that `rounded` has the values of, differentiable in x and `weights`.
/// Linear forms are computed by plain operators, in bf16 too.
[[nodiscard]] at::Tensor FusedBlock(const BlockWeights& weights, const BlockSpec& spec,
                                    const BlockWeights& rounded, const ModelConfig& config,
                                    const RotaryTable& rotary, at::Tensor x);

/// model.Blocks(x, first, last) with `rounded`, which is of a model with these values: made once,
/// it serves all parts of a batch. Null: model.Blocks itself.
[[nodiscard]] at::Tensor FusedBlocks(const Transformer& model, const RoundedBlocks& rounded,
                                     at::Tensor x, int64_t first, int64_t last);

}  // namespace puzzle
