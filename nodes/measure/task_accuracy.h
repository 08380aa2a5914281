// A model answers multiple-choice questions.
#pragma once

#include <functional>
#include <span>

#include "io/tokenizer.h"
#include "model/transformer.h"
#include "nodes/measure/questions.h"

namespace puzzle {

/// The model chooses the continuation that it finds most likely: the sum of its tokens' log
/// probabilities behind BOS and context; ties go to the first. Throws Error for a text that does
/// not fit the model's positions. `poll` gets the part that is done.
[[nodiscard]] TaskAccuracy AnswerQuestions(const Transformer& model, const Tokenizer& tokenizer,
                                           std::span<const Question> questions,
                                           const std::function<void(double)>& poll);

}  // namespace puzzle
