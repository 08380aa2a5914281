// The form that a model takes in a GGUF file: which architecture says it, and how its sub-blocks
// lie in the layers there, so that llama.cpp computes what we do. Torch-free; thread-safe (pure
// functions).
//
// llama.cpp's `deci` has an attention and an FFN in each layer. Sub-blocks that are nothing vanish,
// and those that are left are packed into as few layers as their order allows; what still is alone
// gets a partner that adds exact zeros: attention an FFN of 32 zero channels (llama.cpp leaves out
// the attention of a layer without an FFN), an FFN in layer 0 a linear attention of zeros (its
// layer 0 must have attention heads), other FFNs none. A linear FFN is a linear attention in a
// layer of its own, which is the same: x += W norm(x).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "io/gguf_write.h"
#include "model/shape/config.h"

namespace puzzle {

/// Where the sub-blocks of a layer come from: indices of the model's own blocks. What is absent is
/// what adds zeros, or nothing.
struct GgufLayer {
  std::optional<size_t> attention = {};   // whose attention it has
  std::optional<size_t> linear_ffn = {};  // or whose linear FFN in the place of an attention
  std::optional<size_t> ffn = {};
};

struct GgufForm {
  std::string architecture;  // general.architecture: "llama", "deci", "qwen2", "qwen3", "gpt2", ...
  std::vector<GgufLayer> layers;
  /// As our reader reads the file; it has the layers above. Mistral becomes Llama, and so does a
  /// Qwen2 whose layers differ.
  ModelConfig config;
};

/// Throws Error with what GGUF, or llama.cpp that reads it, has no word for: other families,
/// windows but those of Gemma 3, other rope scalings, layers that differ outside of Llama, Mistral
/// and Qwen2, a model without attention.
[[nodiscard]] GgufForm GgufFormOf(const ModelConfig& config);

/// The keys that describe the model, without those of tokenizer and types.
[[nodiscard]] GgufMetadata GgufKeysOf(const GgufForm& form);

}  // namespace puzzle
