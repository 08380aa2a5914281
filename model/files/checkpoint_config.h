// What a checkpoint says about its model, whatever its format: the one place that tells formats
// apart before weights are read. Torch-free; thread-safe (pure functions).
#pragma once

#include <cstdint>
#include <string>

#include "model/shape/config.h"

namespace puzzle {

/// A file beside config.json that says how to generate: where to stop, how to sample.
inline constexpr const char* kGenerationConfigName = "generation_config.json";

/// The model at `path`: what the metadata of a GGUF file says, or of a Hugging Face folder
/// config.json, the ids that end a text as generation_config.json has them where there is one, and
/// the type of most weights where config.json does not say one. Reads the headers of weights at
/// most. Throws Error naming file, field and what is wrong.
[[nodiscard]] ModelConfig ReadCheckpointConfig(const std::string& path);

/// How many layers it has, whatever else is supported of it. Throws Error likewise.
[[nodiscard]] int64_t CountLayers(const std::string& path);

}  // namespace puzzle
