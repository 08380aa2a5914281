// Recognising a checkpoint folder by its content. Torch-free; thread-safe.
#pragma once

#include <string>

namespace puzzle {

/// Content digest of a checkpoint folder: config, every tensor, tokenizer files. Re-sharding does
/// not change it. Throws Error when the folder holds no checkpoint.
[[nodiscard]] std::string DigestCheckpoint(const std::string& folder);

}  // namespace puzzle
