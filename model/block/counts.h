// How many parameters a form of a sub-block has, and what training takes. Torch-free; thread-safe
// (pure functions).
#pragma once

#include <cstdint>

#include "model/shape/config.h"

namespace puzzle::block {

/// Parameters of a sub-block, its norm included; 0 for `none`.
[[nodiscard]] int64_t CountParameters(const AttentionSpec& spec, const ModelConfig& config);
[[nodiscard]] int64_t CountParameters(const FfnSpec& spec, const ModelConfig& config);
/// Of a norm over hidden states.
[[nodiscard]] int64_t CountNorm(const ModelConfig& config);
/// Of the largest block of a model: what lies in memory of one that is gone through block by block.
[[nodiscard]] int64_t CountLargestBlock(const ModelConfig& config);

/// Bytes that all blocks of a model in training keep of `tokens` tokens for the gradients, about:
/// of plain operators in fp32, or of sub-blocks that are `fused` (model/block/fused.h).
[[nodiscard]] double KeptForGradients(const ModelConfig& config, int64_t tokens, bool fused);

}  // namespace puzzle::block
