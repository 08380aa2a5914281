// Which of somebody's findings were found here too. Needs no model; thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nodes/measure/artifacts.h"

namespace puzzle {

/// That one model is better than another, by their labels.
struct ModelClaim {
  std::string better, worse;
};

/// [["with distillation", "without"], ...]. Throws Error for anything else, and for none.
[[nodiscard]] std::vector<ModelClaim> ReadClaims(const nlohmann::json& value);

/// A line per claim: "confirmed" where the one is better in `metric` by two standard errors of the
/// difference at least, "refuted" where it is worse by as much, else "undecided". The two are taken
/// as independent, which makes that error an upper bound: they were measured on the same text. Says
/// nothing about other seeds. Behind them how many of each. Throws Error like FigureOf, when a
/// label is not among the evaluations or twice, and when the two were not asked the same
/// (CheckSameQuestions).
[[nodiscard]] std::string JudgeClaims(const std::vector<ModelClaim>& claims,
                                      const std::string& metric,
                                      const std::vector<Evaluation>& evaluations);

}  // namespace puzzle
