// `load_model`: a checkpoint folder becomes a checkpoint artifact.
#pragma once

#include <functional>
#include <string>

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/kinds.h"

namespace puzzle {

/// Weights, tokenizer and generation config of a folder or a GGUF file; `warn` hears what is odd
/// about the tokenizer. Throws Error as LoadCheckpoint and LoadTokenizer.
[[nodiscard]] Checkpoint ReadCheckpoint(const std::string& path,
                                        const std::function<void(const std::string&)>& warn);

/// Reads weights and tokenizer (when the folder has one).
[[nodiscard]] Checkpoint RunLoadModel(const LoadModelParams& params, const Inputs& inputs,
                                      RunContext& context);

}  // namespace puzzle
