// How attention with fewer query heads than the rest of the model lies in checkpoint folders. No
// other reader knows such blocks, so they are stored with all query heads, the missing ones filled
// up with zeros, which changes no logit: what a query head of zeros sees meets columns of zeros in
// o_proj. A field of ours, `unpadded_heads`, beside the others in config.json says how many are
// real, and we cut them back when we read. Torch-free; thread-safe (pure functions).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/families/hf_fields.h"
#include "model/shape/config.h"

namespace puzzle {

/// The shapes in the folder: all query heads in every block. kv heads are added where the real ones
/// do not divide the query heads into groups that are large enough, and in families that have no
/// field for kv heads, as many as there are query heads. Throws Error naming the layer when that is
/// not possible.
[[nodiscard]] ModelConfig StoredShape(const ModelConfig& config);

/// Writes `unpadded_heads` for `config`, unless it is stored as it is.
void AddUnpaddedHeads(const ModelConfig& config, nlohmann::ordered_json& json);

/// From the shapes that the other fields say to the real ones. Throws Error when `unpadded_heads`
/// does not fit them.
void ReadUnpaddedHeads(const HfFields& fields, ModelConfig& config);

}  // namespace puzzle
