// Checkpoints whose tensors are read when they are used (model/unread.h). Thread-safe (no shared
// state).
#pragma once

#include <string>
#include <vector>

#include "model/weights.h"

namespace puzzle {

/// What LoadCheckpoint reads (model/files/checkpoint.h), unread: fp32 tensors that are converted or
/// dequantised from the files, as they are then, when they are used. Throws Error as it does for
/// tensors that are missing, extra or misshapen; reading one throws where it is not finite. What
/// the files hold in another shape (model/files/head_padding.h) is cut when it is read, and has no
/// place of its own.
[[nodiscard]] ModelWeights OpenCheckpoint(const std::string& path);
/// The same of a GGUF file alone, or of the first of several parts: the model that Hugging Face's
/// files would give, rows of q and k in their order.
[[nodiscard]] ModelWeights OpenGguf(const std::string& path);

/// The files that its weights lie in. Throws Error for malformed headers.
[[nodiscard]] std::vector<std::string> WeightFilesOf(const std::string& path);

}  // namespace puzzle
