#include "nodes/measure/measured_loss.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "nodes/measure/score_objectives.h"

namespace puzzle {

namespace {

using nlohmann::json;

const MetricInfo* FindInfo(const std::string& metric) {
  for (const MetricInfo& info : AllMetrics())
    if (info.objective == metric) return &info;
  return nullptr;
}

// Whether a parent has no figure of its own.
bool IsAgainstParent(const std::string& metric) {
  const MetricInfo* info = FindInfo(metric);
  return info != nullptr && info->needs_parent;
}

std::optional<double> ReadPercent(const json& value) {
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() < 2 || text.back() != '%') return std::nullopt;
  size_t used = 0;
  try {
    const double number = std::stod(text, &used);
    return used + 1 == text.size() ? std::optional(number) : std::nullopt;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::string NamesOfMeasures() {
  std::string names;
  for (const MetricInfo& info : AllMetrics()) names += std::string(info.objective) + ", ";
  return names + std::string(kTaskAccuracy);
}

bool MoreIsBetter(const std::string& metric) {
  return metric.find("accuracy") != std::string::npos;
}

bool IsMeasure(const std::string& metric) {
  return metric == kTaskAccuracy || FindInfo(metric) != nullptr;
}

MeasuredFigure FigureOf(const std::string& metric, const Evaluation& evaluation) {
  MeasuredFigure figure;
  if (metric == kTaskAccuracy) {
    const TaskMean average = AverageOf(evaluation.tasks);
    if (average.tasks == 0)
      throw Error(
          fmt::format("the evaluation \"{}\" has no task accuracy: connect its port `tasks`",
                      evaluation.label));
    figure = {average.mean, average.error};
  } else {
    const MetricInfo* info = FindInfo(metric);
    PUZZLE_CHECK(info != nullptr, "no measure");
    if (info->needs_parent && !evaluation.has_kl)
      throw Error(fmt::format("the evaluation \"{}\" has no {}: connect its port `parent`",
                              evaluation.label, metric));
    figure = {evaluation.metrics.Mean(info->metric), evaluation.metrics.Error(info->metric)};
  }
  if (!std::isfinite(figure.value))
    throw Error(fmt::format("{} of \"{}\" is not a number", metric, evaluation.label));
  return figure;
}

void CheckSameQuestions(const std::string& metric, const Evaluation& first,
                        const Evaluation& second) {
  if (metric != kTaskAccuracy) {
    if (first.metrics.tokens != second.metrics.tokens)
      throw Error(
          fmt::format("\"{}\" was measured on {} predictions and \"{}\" on {}: both need the "
                      "same tokens and `positions`",
                      first.label, first.metrics.tokens, second.label, second.metrics.tokens));
    return;
  }
  const auto same = [](const TaskResult& a, const TaskResult& b) {
    return a.name == b.name && a.n == b.n;
  };
  if (!std::equal(first.tasks.begin(), first.tasks.end(), second.tasks.begin(), second.tasks.end(),
                  same))
    throw Error(
        fmt::format("\"{}\" and \"{}\" were not asked the same tasks", first.label, second.label));
}

bool MeasuredLimit::Allows(double loss) const {
  return loss <= max * (1 + 1e-9) + 1e-12;
}

std::string MeasuredLimit::Text() const {
  return fmt::format("{} by more than {:g}{}", metric, max, percent ? "%" : "");
}

MeasuredLimit ReadMeasuredLimit(const json& value) {
  if (!value.is_object() || value.size() != 1)
    throw Error(
        "expected one measure and how much of it may be lost, such as {\"kl\": 0.05} or "
        "{\"task_accuracy\": \"1.6%\"}");
  MeasuredLimit limit;
  limit.metric = value.begin().key();
  if (!IsMeasure(limit.metric))
    throw Error(
        fmt::format("unknown measure \"{}\"; there are {}", limit.metric, NamesOfMeasures()));
  const json& most = *value.begin();
  const std::optional<double> percent = ReadPercent(most);
  if (!percent && !most.is_number())
    throw Error(
        fmt::format("{}: expected a number, or a percentage such as \"1.6%\"", limit.metric));
  limit.percent = percent.has_value();
  limit.max = percent ? *percent : most.get<double>();
  if (!std::isfinite(limit.max) || limit.max < 0)
    throw Error(fmt::format("{}: a loss is at least 0", limit.metric));
  if (limit.percent && IsAgainstParent(limit.metric))
    throw Error(
        fmt::format("{}: a parent has none of its own, so that there is no percentage of "
                    "it; give a number",
                    limit.metric));
  return limit;
}

double MeasuredLoss(const MeasuredLimit& limit, const Evaluation& model, const Evaluation* parent) {
  const double own = FigureOf(limit.metric, model).value;
  if (IsAgainstParent(limit.metric)) return own;
  if (parent == nullptr)
    throw Error(
        fmt::format("what \"{}\" lost in {} takes its parent's figure: connect the "
                    "evaluation of the parent too",
                    model.label, limit.metric));
  CheckSameQuestions(limit.metric, model, *parent);
  const double whole = FigureOf(limit.metric, *parent).value;
  const double loss = MoreIsBetter(limit.metric) ? whole - own : own - whole;
  if (!limit.percent) return loss;
  if (!(whole > 0))
    throw Error(fmt::format("{} of \"{}\" is 0: there is no percentage of it", limit.metric,
                            parent->label));
  return 100 * loss / whole;
}

}  // namespace puzzle
