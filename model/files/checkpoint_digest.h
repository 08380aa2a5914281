// Recognising a checkpoint by its content. Torch-free; thread-safe.
#pragma once

#include <string>

namespace puzzle {

/// Content digest of a checkpoint folder (config, every tensor, tokenizer files) or a GGUF file.
/// Re-sharding does not change it. Throws Error when there is no checkpoint.
[[nodiscard]] std::string DigestCheckpoint(const std::string& folder);
/// Digest of what ReadCheckpointConfig has of it: of the shapes, whatever the weights are. Reads no
/// weight; throws Error as that does.
[[nodiscard]] std::string DigestConfig(const std::string& path);

}  // namespace puzzle
