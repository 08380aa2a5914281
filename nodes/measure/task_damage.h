// What a model's answers to tasks are worth beside its parent's: accuracy, and how far its belief
// in the possible answers is from the parent's. Needs no model; values, thread-safe.
#pragma once

#include <span>
#include <vector>

#include "nodes/measure/task.h"
#include "nodes/measure/task_results.h"

namespace puzzle {

/// KL (nats) from the parent's belief in a question's continuations to the model's: their
/// probabilities made to add up to one; where there is one alone, its own and the rest, of which a
/// model that is certain still has 2^-52. Not a number where one of them is none. REQUIRES: as many
/// of both, one at least.
[[nodiscard]] double BeliefKl(std::span<const ContinuationScore> parent,
                              std::span<const ContinuationScore> model);

/// Of every question of a task, in order.
struct QuestionFigures {
  std::vector<double> right;  // 1 or 0, by the accuracy that counts
  std::vector<double> kl;     // BeliefKl

  bool operator==(const QuestionFigures&) const = default;
};

/// REQUIRES: `task` is no perplexity, and `parent` and `model` answered all of it.
[[nodiscard]] QuestionFigures CompareAnswers(
    const Task& task, const std::vector<std::vector<ContinuationScore>>& parent,
    const std::vector<std::vector<ContinuationScore>>& model);

/// Means over tasks of the means over their questions.
struct TaskFigures {
  TaskMean accuracy, kl;
};

/// A model's figures, and their increase over those of the model without a replacement; the errors
/// of the increase are those of paired questions.
struct TaskDamage {
  TaskFigures figures, increase;
};

/// By task. REQUIRES: the same questions in both, one at least in each.
[[nodiscard]] TaskDamage DamageOf(std::span<const QuestionFigures> without,
                                  std::span<const QuestionFigures> with);

}  // namespace puzzle
