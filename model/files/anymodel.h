// config.json of a folder as NVIDIA's ModelOpt writes them ("AnyModel"), which vLLM and
// transformers are about to read: the family's own fields, `block_configs` with sizes by layer, and
// `per_layer_config`, which says only what differs. The tensors are those of any folder.
// Torch-free; thread-safe (pure functions).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/shape/config.h"

namespace puzzle {

/// The global fields are the sizes that most layers have. ModelConfigFromJson reads it back. Throws
/// Error for what per_layer_config has no word for: linear sub-blocks, windows that the family's
/// own fields do not say, families without kv heads, a model without attention or without FFN.
[[nodiscard]] nlohmann::ordered_json AnyModelJson(const ModelConfig& config);

}  // namespace puzzle
