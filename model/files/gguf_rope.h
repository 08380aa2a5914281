// The rotary embedding in a GGUF file: keys, and tensors of factors by which llama.cpp divides the
// frequencies. Torch-free; thread-safe (pure functions).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf_write.h"
#include "model/files/gguf_keys.h"
#include "model/shape/config.h"

namespace puzzle {

/// Adds to `json` what a config.json would say: `rope_theta`, the scaling, the rotated part of a
/// head. Throws Error naming key or tensor for scalings that are not known, factors that do not
/// fit, and a partial rotation where `may_be_partial` is false.
void ReadGgufRope(const GgufKeys& keys, int64_t head_dim, bool may_be_partial,
                  nlohmann::ordered_json& json);

/// One factor per pair of a head's rotated dimensions.
struct GgufRopeFactors {
  std::string name;
  std::vector<float> factors;
};

/// Those that a file of a model with this rope has: `rope_freqs.weight` for Llama 3's scaling, two
/// for `longrope`, else none.
[[nodiscard]] std::vector<GgufRopeFactors> RopeFactorsForGguf(const RopeConfig& rope,
                                                              int64_t head_dim);
/// And its keys. REQUIRES: the rope is plain or scaled as `linear`, `llama3` or `longrope`.
void AddRopeKeys(const std::string& architecture, const ModelConfig& config, GgufMetadata& keys);
/// Whether a tensor is one of those.
[[nodiscard]] bool IsGgufRopeFactors(std::string_view name);

}  // namespace puzzle
