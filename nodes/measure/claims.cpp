#include "nodes/measure/claims.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "io/error.h"
#include "nodes/measure/measured_loss.h"

namespace puzzle {

namespace {

const Evaluation& Labelled(const std::string& label, const std::vector<Evaluation>& evaluations) {
  const Evaluation* found = nullptr;
  for (const Evaluation& evaluation : evaluations) {
    if (evaluation.label != label) continue;
    if (found != nullptr)
      throw Error(fmt::format("two evaluations at `rows` are called \"{}\"", label));
    found = &evaluation;
  }
  if (found != nullptr) return *found;
  std::string labels;
  for (const Evaluation& evaluation : evaluations)
    labels += (labels.empty() ? "\"" : ", \"") + evaluation.label + '"';
  throw Error(
      fmt::format("better: no evaluation at `rows` is called \"{}\"; there are {}", label, labels));
}

// By how much the first is better, in the metric's unit, and that difference's standard error.
MeasuredFigure Advantage(const std::string& metric, const Evaluation& first,
                         const Evaluation& second) {
  const MeasuredFigure a = FigureOf(metric, first), b = FigureOf(metric, second);
  CheckSameQuestions(metric, first, second);
  return {MoreIsBetter(metric) ? a.value - b.value : b.value - a.value,
          std::hypot(a.error, b.error)};
}

}  // namespace

std::vector<ModelClaim> ReadClaims(const nlohmann::json& value) {
  const char* expected = "expected pairs of labels, [[\"the better\", \"the worse\"], ...]";
  if (!value.is_array() || value.empty()) throw Error(expected);
  std::vector<ModelClaim> claims;
  for (const nlohmann::json& pair : value) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      throw Error(expected);
    claims.push_back({pair[0], pair[1]});
    if (claims.back().better == claims.back().worse)
      throw Error(fmt::format("\"{}\" is compared with itself", claims.back().better));
  }
  return claims;
}

std::string JudgeClaims(const std::vector<ModelClaim>& claims, const std::string& metric,
                        const std::vector<Evaluation>& evaluations) {
  std::string text;
  int confirmed = 0, refuted = 0;
  for (const ModelClaim& claim : claims) {
    const Evaluation& better = Labelled(claim.better, evaluations);
    const Evaluation& worse = Labelled(claim.worse, evaluations);
    const MeasuredFigure advantage = Advantage(metric, better, worse);
    const bool holds = advantage.value > 2 * advantage.error;
    const bool fails = advantage.value < -2 * advantage.error;
    confirmed += holds ? 1 : 0;
    refuted += fails ? 1 : 0;
    text += fmt::format("  {:<9}  {} better than {}: {} {:.4f} against {:.4f}, {:+.4f} +-{:.4f}\n",
                        holds   ? "confirmed"
                        : fails ? "refuted"
                                : "undecided",
                        claim.better, claim.worse, metric, FigureOf(metric, better).value,
                        FigureOf(metric, worse).value,
                        FigureOf(metric, better).value - FigureOf(metric, worse).value,
                        advantage.error);
  }
  return text +
         fmt::format("  {} of {} confirmed here, {} refuted\n", confirmed, claims.size(), refuted);
}

}  // namespace puzzle
