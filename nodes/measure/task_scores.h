// Scores in tasks: what a model answers when one of its sub-blocks, or blocks, is replaced.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "io/tokenizer.h"
#include "model/transformer.h"
#include "nodes/measure/answer_tasks.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/task_damage.h"

namespace puzzle {

/// What all scores of one model share. Immutable, hence shared by threads.
struct TaskReference {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<TaskAnswers> parent;     // by task
  std::vector<QuestionFigures> as_is;  // of the model without a replacement
};

/// Gets the part that is done, and of which task.
using TaskPoll = std::function<void(double, std::string_view)>;

/// `model` is the parent itself, or a child of it. Throws Error for a task that is a text's
/// perplexity (it has no accuracy), and for answers that are no numbers, naming the task.
[[nodiscard]] TaskReference MakeTaskReference(const TaskSet& tasks, const Transformer& parent,
                                              const Transformer& model,
                                              std::shared_ptr<const Tokenizer> tokenizer,
                                              const TaskPoll& poll);

/// `replaced` is the model of `reference` with something in place of a part. Throws Error for
/// answers that are no numbers, naming the task. REQUIRES: the same tasks.
[[nodiscard]] TaskDamage ScoreInTasks(const TaskSet& tasks, const Transformer& replaced,
                                      const TaskReference& reference, const TaskPoll& poll);

}  // namespace puzzle
