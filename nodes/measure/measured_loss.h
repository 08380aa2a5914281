// How much of a quality a model may lose, as measured on it and not as the sum of its parts'
// scores. Values; thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "nodes/measure/artifacts.h"

namespace puzzle {

/// What can be measured on a model: the objectives of AllMetrics() and task_accuracy.
[[nodiscard]] std::string NamesOfMeasures();
[[nodiscard]] bool IsMeasure(const std::string& metric);

/// Of the accuracies.
[[nodiscard]] bool MoreIsBetter(const std::string& metric);

struct MeasuredFigure {
  double value = 0;
  double error = 0;  // standard
};
/// Throws Error, naming the evaluation and what to connect, when the figure is not there or is no
/// number. REQUIRES: IsMeasure(metric).
[[nodiscard]] MeasuredFigure FigureOf(const std::string& metric, const Evaluation& evaluation);

/// Throws Error, naming both, unless two models were asked the same: for task_accuracy the same
/// tasks, else as many predictions.
void CheckSameQuestions(const std::string& metric, const Evaluation& first,
                        const Evaluation& second);

/// "kl" <= 0.05, or "task_accuracy" lower by at most 1.6 % of the parent's.
struct MeasuredLimit {
  std::string metric;
  double max = 0;
  bool percent = false;  // of the parent's figure

  /// Whether a model may lose so much. One that loses all that may be lost does not lose more,
  /// whatever rounding made of it: .5 - .49 is above .01.
  [[nodiscard]] bool Allows(double loss) const;
  /// "task_accuracy by more than 1.6%": what is not to happen.
  [[nodiscard]] std::string Text() const;
};

/// {"kl": 0.05}, {"lm_loss": 0.1}, {"task_accuracy": "1.6%"}: the objectives of AllMetrics() and
/// task_accuracy. A percentage needs a figure that the parent has itself, unlike kl. Throws Error
/// for anything else.
[[nodiscard]] MeasuredLimit ReadMeasuredLimit(const nlohmann::json& value);

/// What the model lost against its parent, in units of `limit.max`: the increase of the metric, of
/// an accuracy its decrease. `parent` is the parent's own evaluation on the same text and tasks; it
/// may be missing where the metric compares with a parent itself (kl, cosine, nmse). Throws Error,
/// naming the evaluation and what to connect, when a figure is not there or is no number, and when
/// the two did not look at the same text or tasks.
[[nodiscard]] double MeasuredLoss(const MeasuredLimit& limit, const Evaluation& model,
                                  const Evaluation* parent);

}  // namespace puzzle
