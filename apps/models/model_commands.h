// What `puzzle eval`, `generate`, `bench` and `export` do; needs libtorch.
#pragma once

#include "apps/models/model_verbs.h"

namespace puzzle {

/// Prints the metrics of AllMetrics() and their standard errors, as text or JSON {"positions",
/// "nll", "nll_se", ...}; those against a parent if there is one.
[[nodiscard]] int EvalCommand(const EvalOptions& options);
/// Prints prompts and their continuations, or the answers of a chat, as they are written; or JSON
/// lines {"prompt", "text", "tokens", "end"}.
[[nodiscard]] int GenerateCommand(const GenerateOptions& options);
/// Prints a table of speeds, or {"models": [{"model", "dtype", "prefill_tok_s", "decode_tok_s",
/// "first_token_ms", "peak_mib", "ratio", "predicted_ratio", ...}], ...}.
[[nodiscard]] int BenchCommand(const BenchVerbOptions& options);

/// Writes the files and prints their names and sizes, and which programs load them. Throws Error,
/// before anything is read, for a destination that holds what is no checkpoint.
[[nodiscard]] int ExportCommand(const ExportOptions& options, const Registry& registry,
                                const Hooks& hooks);

}  // namespace puzzle
