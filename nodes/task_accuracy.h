// How many multiple-choice questions a model answers.
#pragma once

#include <functional>
#include <span>

#include "io/tokenizer.h"
#include "model/transformer.h"
#include "nodes/questions.h"

namespace puzzle {

struct TaskAccuracy {
  int64_t questions = 0;
  int64_t right = 0;

  [[nodiscard]] double Mean() const;
  [[nodiscard]] double StandardError() const;
};

/// The model chooses the continuation that it finds most likely: the sum of its tokens' log
/// probabilities behind BOS and context; ties go to the first. Throws Error for a text that does
/// not fit the model's positions. `poll` gets the part that is done.
[[nodiscard]] TaskAccuracy AnswerQuestions(const Transformer& model, const Tokenizer& tokenizer,
                                           std::span<const Question> questions,
                                           const std::function<void(double)>& poll);

}  // namespace puzzle
