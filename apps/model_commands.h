// What `puzzle eval` and `puzzle generate` do; needs libtorch.
#pragma once

#include "apps/model_verbs.h"

namespace puzzle {

/// Prints the metrics, as text or JSON {"nll", "nll_se", "positions", "token_accuracy_top_1", ...,
/// with a parent "kl", "kl_se", "cosine"}.
[[nodiscard]] int EvalCommand(const EvalOptions& options);
/// Prints the prompt and its continuation.
[[nodiscard]] int GenerateCommand(const GenerateOptions& options);

}  // namespace puzzle
