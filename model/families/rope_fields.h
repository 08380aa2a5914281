// The rotary embedding in config.json: `rope_theta` with `rope_scaling`, or `rope_parameters` as
// transformers 5 writes them. Torch-free; thread-safe (pure functions).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/families/hf_fields.h"
#include "model/shape/config.h"

namespace puzzle {

/// Reads the scalings `linear`, `llama3`, `dynamic`, `yarn` and `longrope` for a model whose
/// head_dim and max_positions are known. Throws Error naming the field that is missing or wrong,
/// or both objects when they disagree.
[[nodiscard]] RopeConfig ReadRope(const HfFields& fields, const ModelConfig& config);
/// From one object that has everything: `scaling` of `fields`, with `theta` where it has none.
[[nodiscard]] RopeConfig ReadRopeObject(const HfFields& fields, const HfFields& scaling,
                                        double theta, const ModelConfig& config);

/// What ReadRope reads back as the same: `rope_theta` and `rope_scaling` (null when there is none).
void WriteRope(const RopeConfig& rope, nlohmann::ordered_json& json);
/// The `rope_scaling` of it.
[[nodiscard]] nlohmann::ordered_json RopeScalingJson(const RopeConfig& rope);

}  // namespace puzzle
