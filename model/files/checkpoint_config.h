// What a checkpoint says about its model, whatever its format: the one place that tells formats
// apart before weights are read. Torch-free; thread-safe (pure functions).
#pragma once

#include <cstdint>
#include <string>

#include "model/shape/config.h"

namespace puzzle {

/// The shape of the model at `path`, a Hugging Face folder. Throws Error naming file, field and
/// what is wrong.
[[nodiscard]] ModelConfig ReadCheckpointConfig(const std::string& path);

/// How many layers it has, whatever else is supported of it. Throws Error likewise.
[[nodiscard]] int64_t CountLayers(const std::string& path);

}  // namespace puzzle
