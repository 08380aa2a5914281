// Checkpoints in GGUF files. Thread-safe (no shared state).
#pragma once

#include <string>

#include "model/weights.h"

namespace puzzle {

/// Reads a GGUF file (or the first of several parts): the model that Hugging Face's files would
/// give, dequantised to fp32, rows of q and k in their order. Tensor by tensor, so that beside the
/// model no more than one of them is held. Throws Error naming file and tensor, as LoadCheckpoint.
[[nodiscard]] ModelWeights LoadGguf(const std::string& path);

}  // namespace puzzle
