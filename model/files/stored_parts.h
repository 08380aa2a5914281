// The parts of a model that a GGUF file can hold in types of their own, and what weights are once
// they went through such a type. Thread-safe (pure functions).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/ggml_types.h"
#include "model/weights.h"

namespace puzzle {

/// The matrices of a sub-block, the embedding or the head. Vectors and learned positions are fp32,
/// whatever they belong to.
struct ModelPart {
  std::string name;     // "embed", "head", or as SubBlockPart
  std::string variant;  // what it is in this model: "embed", "head", "attn:kv1", "ffn:256"
};

inline constexpr const char* kEmbeddingPart = "embed";  // a tied head too
inline constexpr const char* kHeadPart = "head";
/// "layer 3 attn", "layer 3 ffn".
[[nodiscard]] std::string SubBlockPart(int64_t layer, SubBlock which);

/// Those that have matrices: embedding, sub-blocks by layer, attention first, and a head of its
/// own.
[[nodiscard]] std::vector<ModelPart> StoredParts(const ModelConfig& config);

/// Types by the name of a part.
using StoredTypes = std::map<std::string, const GgmlType*>;

/// Why a part cannot be held in `type` ("self_attn.o_proj.weight: rows of 200 elements are no
/// multiple of the 32 in a block of Q4_0"), or nothing.
[[nodiscard]] std::optional<std::string> WhyNotStoredAs(const ModelConfig& config,
                                                        const std::string& part,
                                                        const GgmlType& type);

/// The model as a reader of such a file sees it: matrices of the named parts quantised and
/// dequantised, everything else shared with `model`. Throws Error for a part that is not there, for
/// rows that are no whole blocks, and for values that are too large for a type.
[[nodiscard]] ModelWeights StoredAs(const ModelWeights& model, const StoredTypes& types);

}  // namespace puzzle
