// What a model's answers to tasks amount to: accuracies, perplexities, their errors, averages and
// tables. Needs no model; values, thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "nodes/measure/task.h"

namespace puzzle {

/// What a model thinks of a continuation.
struct ContinuationScore {
  double log_probability = 0;  // of its tokens together, in nats
  bool greedy = false;         // each token is the likeliest where it stands
};

struct TaskResult {
  std::string name;
  int64_t n = 0;    // questions; of a perplexity, predicted tokens
  int64_t cut = 0;  // questions longer than the model's context, answered without their beginning
  /// "acc", "acc_norm", their standard errors "stderr" and "acc_norm_stderr", "ppl" (of the
  /// continuation), "token_ppl", "word_ppl", "byte_ppl".
  std::map<std::string, double> figures;
  std::string counts;  // the figure that an average takes: "acc", "acc_norm" or none
  std::string right;   // by that figure: '1' or '0' for each question, in order; may be unknown

  /// The accuracy that counts, and its standard error. REQUIRES: `counts` is not empty.
  [[nodiscard]] double Accuracy() const { return figures.at(counts); }
  [[nodiscard]] double Error() const;

  bool operator==(const TaskResult&) const = default;
};

/// The result of a task of choices or of greedy matches: `scores[i]` are those of question i's
/// continuations. A question counts as right when its answer beats every other choice: ties and
/// what is no number are wrong.
[[nodiscard]] TaskResult JudgeTask(const Task& task,
                                   const std::vector<std::vector<ContinuationScore>>& scores);

/// A mean of accuracies and its standard error.
struct TaskMean {
  double mean = 0;
  double error = 0;
  int64_t tasks = 0;  // how many accuracies; 0: there were none
};
/// Over the tasks that count.
[[nodiscard]] TaskMean AverageOf(std::span<const TaskResult> results);
/// How much of `parent`'s accuracy `child` keeps, 1 for all; the error is that of paired questions
/// where both answers are known. REQUIRES: the same tasks, and a parent that is not always wrong.
[[nodiscard]] TaskMean Preserved(std::span<const TaskResult> child,
                                 std::span<const TaskResult> parent);

/// {"arc_easy": {"n", "acc", ...}, ...}, in the order of `results`.
[[nodiscard]] nlohmann::ordered_json ToJson(std::span<const TaskResult> results);

/// The tasks of one model.
struct ModelTasks {
  std::string label;
  std::vector<TaskResult> results;
};
/// A line per task, a column per model, standard errors beside; behind the columns of all models
/// but the first, `parent` if it is not negative, what they keep of it. Then averages, and how many
/// questions were cut.
[[nodiscard]] std::string TaskTable(const std::vector<ModelTasks>& models, int parent);

}  // namespace puzzle
