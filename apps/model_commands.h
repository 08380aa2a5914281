// What `puzzle eval` and `puzzle generate` do; needs libtorch.
#pragma once

#include "apps/model_verbs.h"

namespace puzzle {

/// Prints the metrics of AllMetrics() and their standard errors, as text or JSON {"positions",
/// "nll", "nll_se", ...}; those against a parent if there is one.
[[nodiscard]] int EvalCommand(const EvalOptions& options);
/// Prints the prompt and its continuation, or the answer of a chat.
[[nodiscard]] int GenerateCommand(const GenerateOptions& options);

}  // namespace puzzle
