// 8-bit weights (E4M3) with their scales, as fine-grained fp8, compressed-tensors and ModelOpt
// write them: read as the numbers they stand for. Torch-free; thread-safe (pure functions).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/families/hf_fields.h"

namespace puzzle {

/// Rows and columns that share a scale, where scales belong to blocks: `weight_block_size` of a
/// config.json's `quantization_config`, else 128 x 128.
using ScaleBlock = std::array<int64_t, 2>;
[[nodiscard]] ScaleBlock ReadScaleBlock(const HfFields& config);

/// Whether a tensor is there and holds 8-bit weights.
[[nodiscard]] bool IsFp8(const SafetensorsReader& reader, const std::string& name);
/// Whether a tensor is a scale of an 8-bit weight beside it, or of that weight's inputs.
[[nodiscard]] bool IsFp8Scale(const SafetensorsReader& reader, const std::string& name);

/// The tensor in fp32, times its scale where it has one: a number, one per row, or one per block.
/// Throws Error naming the tensor when the scale's shape is none of these.
[[nodiscard]] std::vector<float> ReadScaledF32(const SafetensorsReader& reader,
                                               const std::string& name, const ScaleBlock& block);

}  // namespace puzzle
