// What the metadata of a GGUF file says of a model, and where its tensors lie there. Torch-free;
// thread-safe (pure functions).
//
// Architectures: llama and deci (Llama; deci is its heterogeneous form), qwen2, qwen3, gpt2, phi3,
// gemma2, gemma3.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"
#include "model/shape/config.h"

namespace puzzle {

/// Throws Error naming file and key for architectures that are not known, keys that are missing or
/// wrong, and what would change the computation and is not done here: experts, other rope scalings.
[[nodiscard]] ModelConfig ReadGgufConfig(const GgufReader& reader);

/// How many layers it has, whatever else is supported of it. Throws Error likewise.
[[nodiscard]] int64_t CountGgufLayers(const GgufReader& reader);

/// Where a tensor lies in a GGUF file.
struct GgufPlace {
  std::string name;
  int part = 0;         // of the tensors that are stacked, output rows first, under this name
  int64_t rotated = 0;  // heads whose rows are interleaved for the rotation of llama.cpp; 0: none
  bool is_plus_one = false;  // the file has 1 + weight
};

/// `name` is ours, as in Slots of model/weights.h ("model.layers.3.mlp.up_proj.weight").
[[nodiscard]] GgufPlace GgufPlaceOf(const ModelConfig& config, std::string_view name);

}  // namespace puzzle
