// Log-probabilities of many continuations of many contexts.
#pragma once

#include <functional>
#include <vector>

#include "model/transformer.h"
#include "nodes/measure/task_results.h"

namespace puzzle {

/// Token ids, of which the first `given` are not judged.
struct Continuation {
  std::vector<int32_t> ids;
  int64_t given = 0;
};

/// What the model thinks of the continuations of each question. Each prefix that a question's
/// continuations have in common, and one that many questions begin with, is computed once;
/// questions of like length go together, and logits exist for judged tokens only. `poll` gets the
/// part that is done. REQUIRES: 1 <= given < size of ids <= the model's positions + 1.
[[nodiscard]] std::vector<std::vector<ContinuationScore>> ScoreContinuations(
    const Transformer& model, const std::vector<std::vector<Continuation>>& questions,
    const std::function<void(double)>& poll);

}  // namespace puzzle
