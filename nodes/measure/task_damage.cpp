#include "nodes/measure/task_damage.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/error.h"

namespace puzzle {

namespace {

// log(exp(a) + exp(b) + ...). REQUIRES: there are some.
double LogSum(std::span<const ContinuationScore> scores) {
  double most = scores[0].log_probability;
  for (const ContinuationScore& score : scores) most = std::max(most, score.log_probability);
  double sum = 0;
  for (const ContinuationScore& score : scores) sum += std::exp(score.log_probability - most);
  return most + std::log(sum);
}

// p (log p - log q), of which nothing is left at p = 0.
double Term(double log_p, double log_q) {
  const double p = std::exp(log_p);
  return p == 0 ? 0 : p * (log_p - log_q);
}

// log(1 - exp(x)), x <= 0; a probability is at most one, whatever rounding made of it.
double LogRest(double x) {
  return std::log(-std::expm1(std::min(x, 0.0)));
}

// The mean of a figure over questions, then over tasks.
template <class ValueOf>
TaskMean MeanOf(size_t tasks, const ValueOf& values_of) {
  TaskMean mean{0, 0, static_cast<int64_t>(tasks)};
  for (size_t t = 0; t < tasks; ++t) {
    const std::vector<double> values = values_of(t);
    PUZZLE_CHECK(!values.empty(), "a task without questions");
    const auto n = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    for (const double value : values) sum += value;
    for (const double value : values) squares += (value - sum / n) * (value - sum / n);
    mean.mean += sum / n;
    mean.error = std::hypot(mean.error, n > 1 ? std::sqrt(squares / n / (n - 1)) : 0);
  }
  if (tasks == 0) return mean;
  mean.mean /= static_cast<double>(tasks);
  mean.error /= static_cast<double>(tasks);
  return mean;
}

std::vector<double> Differences(const std::vector<double>& from, const std::vector<double>& to) {
  PUZZLE_CHECK(from.size() == to.size(), "other questions");
  std::vector<double> differences(to.size());
  for (size_t i = 0; i < to.size(); ++i) differences[i] = to[i] - from[i];
  return differences;
}

}  // namespace

double BeliefKl(std::span<const ContinuationScore> parent,
                std::span<const ContinuationScore> model) {
  PUZZLE_CHECK(parent.size() == model.size() && !parent.empty(), "other continuations");
  if (parent.size() == 1) {
    // As little as doubles tell from nothing: rounding makes a sure model one that is certain.
    const double least = std::log(std::numeric_limits<double>::epsilon());
    const double p = parent[0].log_probability, q = model[0].log_probability;
    return Term(p, q) + Term(LogRest(p), std::max(LogRest(q), least));
  }
  const double all_p = LogSum(parent), all_q = LogSum(model);
  double kl = 0;
  for (size_t i = 0; i < parent.size(); ++i)
    kl += Term(parent[i].log_probability - all_p, model[i].log_probability - all_q);
  return kl;
}

QuestionFigures CompareAnswers(const Task& task,
                               const std::vector<std::vector<ContinuationScore>>& parent,
                               const std::vector<std::vector<ContinuationScore>>& model) {
  PUZZLE_CHECK(parent.size() == model.size(), "other questions");
  QuestionFigures figures;
  for (const char right : JudgeTask(task, model).right) figures.right.push_back(right == '1');
  for (size_t i = 0; i < model.size(); ++i) figures.kl.push_back(BeliefKl(parent[i], model[i]));
  return figures;
}

TaskDamage DamageOf(std::span<const QuestionFigures> without,
                    std::span<const QuestionFigures> with) {
  PUZZLE_CHECK(without.size() == with.size(), "other tasks");
  const size_t n = with.size();
  return {{MeanOf(n, [&](size_t t) { return with[t].right; }),
           MeanOf(n, [&](size_t t) { return with[t].kl; })},
          {MeanOf(n, [&](size_t t) { return Differences(without[t].right, with[t].right); }),
           MeanOf(n, [&](size_t t) { return Differences(without[t].kl, with[t].kl); })}};
}

}  // namespace puzzle
