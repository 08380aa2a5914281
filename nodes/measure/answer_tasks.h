// A model answers tasks.
#pragma once

#include <functional>
#include <vector>

#include "io/tokenizer.h"
#include "model/transformer.h"
#include "nodes/measure/task.h"
#include "nodes/measure/task_results.h"

namespace puzzle {

/// What a model thinks of every continuation of a task's questions.
struct TaskAnswers {
  std::vector<std::vector<ContinuationScore>> scores;
  int64_t cut = 0;  // questions longer than the model's context
};

/// AnswerTask without a verdict. Throws Error as it does. REQUIRES: `task` is no perplexity.
[[nodiscard]] TaskAnswers AskTask(const Transformer& model, const Tokenizer& tokenizer,
                                  const Task& task, const std::function<void(double)>& poll);

/// The model's answers, with the rules of lm-evaluation-harness: a context's trailing white space
/// goes to the continuation; what the tokenizer puts before every text stands before the context;
/// an empty context is BOS, or else EOS; a continuation's tokens are those of the whole text behind
/// as many as the context has; of what is longer than the model's context the beginning is cut (and
/// counted). A text's perplexity is that of windows from which the first token is not predicted,
/// the rest that fills none dropped. Throws Error for a continuation that adds no token, and where
/// neither BOS nor EOS can stand for an empty context and nothing is left to judge. `poll` gets the
/// part that is done.
[[nodiscard]] TaskResult AnswerTask(const Transformer& model, const Tokenizer& tokenizer,
                                    const Task& task, const std::function<void(double)>& poll);

}  // namespace puzzle
